// Shows GraphiQL for the token that the user types. The token is kept in this page's memory alone.
"use strict";

const place = document.getElementById("graphiql");
const daysAgo = (days) => new Date(Date.now() - days * 86400000).toISOString().slice(0, 10);
const EXAMPLE = `# Ask for a report, then query its status by the report token that you get.
mutation Ask {
  askPartnerReportFile(
    input: { metrics: [VIEWS], dimensions: [DAY], startDate: "${daysAgo(7)}", endDate: "${daysAgo(1)}" }
  ) {
    reportFile { reportToken status }
  }
}
`;

document.getElementById("host").textContent = window.location.origin;
const root = ReactDOM.createRoot(place);
let shown = 0;

function fetcherFor(token) {
  return async (parameters) => {
    const answer = await fetch("/graphql", {
      method: "POST",
      headers: {
        Accept: "application/graphql-response+json",
        Authorization: `Bearer ${token}`,
        "Content-Type": "application/json",
      },
      body: JSON.stringify(parameters),
    });
    return answer.json();
  };
}

document.getElementById("access").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = document.getElementById("token").value.trim();
  shown += 1; // Another key makes a new GraphiQL, which reads the schema by the new token.
  const properties = { key: shown, fetcher: fetcherFor(token), defaultQuery: EXAMPLE, isHeadersEditorEnabled: false };
  root.render(React.createElement(GraphiQL, properties));
});
