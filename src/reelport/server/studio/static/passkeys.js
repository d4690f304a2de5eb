// Forms marked data-passkey are sent with the answer of a passkey. The mark holds the options for the browser; those of a
// new passkey name its user. A code that was typed is sent instead of an answer.
const { PublicKeyCredential: Passkey } = window;
const works = Boolean(Passkey?.parseCreationOptionsFromJSON && navigator.credentials);

if (!works) for (const { dataset } of document.querySelectorAll("[data-passkeys]")) {
  dataset.passkeys = dataset.passkeys === "yes" ? "no" : "yes";
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-passkey]");
  if (!works || !form || form.elements.code?.value || form.elements.credential.value) return;
  event.preventDefault();
  const problem = document.getElementById("passkey-problem");
  problem.hidden = true;
  try {
    form.elements.credential.value = JSON.stringify(await ask(form));
    form.requestSubmit(event.submitter);
  } catch (error) {
    console.warn(error);
    problem.hidden = false;
  }
  form.elements.credential.value = ""; // The way back must not lead to an answer that was used.
});

// A challenge lives for minutes, a page for hours: take the one of a page that is loaded now.
async function ask(form) {
  const answer = await fetch(form.dataset.page, { credentials: "same-origin" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById(form.id);
  if (!fresh) return location.assign(form.dataset.page); // The session has ended.
  form.elements.challenge.value = fresh.elements.challenge.value;
  const options = JSON.parse(fresh.dataset.passkey);
  return options.user
    ? navigator.credentials.create({ publicKey: Passkey.parseCreationOptionsFromJSON(options) })
    : navigator.credentials.get({ publicKey: Passkey.parseRequestOptionsFromJSON(options) });
}
