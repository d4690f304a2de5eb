// What the pages do better with a script: they all work without one.
// A link or form marked data-swap is fetched and its <main> put in place of this one, without losing the focus.
// A newer one ends the one before, and with it its queries in the service. What the one before was to change is
// changed by the newer one, too.

let running = null; // The request that is under way: its controller, and the address that it loads.
const sent = new WeakMap(); // What the fields of a form were when the page was shown, or when the form was last sent.
const says = document.getElementById("announcer").dataset; // What the script says, in the page's language.

async function load(address, { keepAddress = false, quiet = false } = {}) {
  running?.controller.abort();
  const mine = (running = { controller: new AbortController(), address });
  const main = document.querySelector("main");
  if (!quiet) main.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { signal: mine.controller.signal, credentials: "same-origin" });
    // Another page, such as the sign-in after a session has ended, has another head: it is loaded as a whole.
    const leadsElsewhere = answer.redirected && new URL(answer.url).pathname !== new URL(address).pathname;
    if (leadsElsewhere) return location.assign(answer.url);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.querySelector("main")) throw new Error("no page");
    if (!keepAddress) history.pushState({ swapped: true }, "", answer.url);
    show(page);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!keepAddress) location.assign(address);
    // The way back has changed the address already: what is shown would be another page's numbers.
    else if (!quiet) location.reload();
    else announce(says.failed);
  } finally {
    if (running === mine) {
      running = null;
      main.removeAttribute("aria-busy");
    }
  }
}

// Load an address that a link or form of this page leads to. While another one is loaded, what this one changes is
// changed in that one: a page's links and forms know only of the page that they stand on.
function follow(address, from) {
  const { several } = document.querySelector("main").dataset;
  const isView = several !== undefined && new URL(address).pathname === location.pathname;
  if (!running || !isView) return load(address);
  const wanted = new URL(running.address);
  merge(wanted.searchParams, new URLSearchParams(from), new URL(address).searchParams, several.split(" "));
  if (wanted.href !== running.address) load(wanted.href);
}

// Change in `wanted` what differs between `from` and `to`; the parameters named in `several` are lists.
function merge(wanted, from, to, several) {
  for (const name of new Set([...from.keys(), ...to.keys()])) {
    const [before, after] = [from.getAll(name), to.getAll(name)];
    if (before.join("\n") === after.join("\n")) continue;
    const kept = wanted.getAll(name).filter((value) => after.includes(value) || !before.includes(value));
    const merged = new Set([...kept, ...after.filter((value) => !before.includes(value))]);
    wanted.delete(name);
    for (const value of several.includes(name) && merged.size ? merged : after) wanted.append(name, value);
  }
}

function show(page) {
  const before = document.activeElement;
  const [id, name, value] = [before?.id, before?.name, before?.value];
  const [from, to] = [before?.selectionStart, before?.selectionEnd];
  const form = before?.matches(":read-write") && before.form;
  // What is being typed and was not sent yet stays, and is sent when the field is left.
  const isTyped = form && (sent.has(form) ? serialize(form) !== sent.get(form) : value !== before.defaultValue);
  if (isTyped) sent.set(form, serialize(form));
  const searched = [...document.querySelectorAll("[data-narrow]")].map((each) => [each.id, each.value]);
  const open = [...document.querySelectorAll("details[id][open]")].map((each) => each.id);
  const wasSearched = document.querySelector("main [autofocus]");
  document.title = page.title;
  document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
  for (const each of open) document.getElementById(each)?.setAttribute("open", "");
  watch();
  for (const [id, text] of searched) {
    const field = document.getElementById(id);
    if (field && text) narrow(Object.assign(field, { value: text }));
  }
  const again =
    (id && document.getElementById(id)) ||
    (name && [...document.getElementsByName(name)].find((each) => each.value === value)) ||
    (name && document.getElementsByName(name)[0]) ||
    (before && before !== document.body && findAlike(before));
  const searching = !wasSearched && document.querySelector("main [autofocus]");
  if (searching) {
    searching.focus();
  } else if (again) {
    again.focus({ preventScroll: true });
    if (isTyped) again.value = value;
    if (from != null && again.setSelectionRange) again.setSelectionRange(from, to);
  } else if (before && before !== document.body) {
    document.querySelector("main").focus({ preventScroll: true });
  }
  announce(document.querySelector("main [data-announce]")?.textContent ?? "");
}

// What has neither id nor name is found again by what it is called, and where it leads.
function findAlike(before) {
  const called = (each) => [each.getAttribute("aria-label") ?? each.textContent, each.getAttribute("href")].join();
  return [...document.querySelectorAll(before.tagName)].find((each) => called(each) === called(before));
}

function announce(text) {
  const announcer = document.getElementById("announcer");
  // A page that is looked at again says the same again: tell it once.
  if (announcer.textContent !== text.trim()) announcer.textContent = text.trim();
}

document.addEventListener("click", (event) => {
  closeMenus(event.target.closest("details.export"));
  const link = event.target.closest("a[data-swap]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    follow(link.href, document.querySelector("main").dataset.view);
  }
  // What leads to something of this view leads to the one that is being loaded.
  const next = event.target.closest("a[data-of-view]");
  if (next && running) next.search = new URL(running.address).search;
  const copying = event.target.closest("[data-copy]");
  if (copying) copy(copying);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-swap]");
  if (event.target.method === "post" && event.target.closest("main[aria-busy]")) {
    event.preventDefault();
    announce(says.changing);
  }
  if (!form || form.method !== "get") return;
  event.preventDefault();
  send(form, event.submitter);
});

// A field that a page has put into its place tells of no change when it is left.
for (const kind of ["change", "focusout"]) {
  document.addEventListener(kind, (event) => {
    const form = event.target.closest("form[data-swap][data-at-once]");
    if (form && serialize(form) !== sent.get(form)) send(form);
  });
}

function send(form, submitter) {
  const [before, now] = [sent.get(form), serialize(form, submitter)];
  sent.set(form, now);
  follow(new URL(`?${now}`, form.action).href, before);
}

function serialize(form, submitter) {
  return new URLSearchParams([...new FormData(form, submitter)].filter(([, value]) => value !== "")).toString();
}

// A field that narrows a list of choices to those that have its text, in any case and without accents.
document.addEventListener("input", ({ target }) => target.matches("[data-narrow]") && narrow(target));

function narrow(field) {
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const has = (each) => plain(each.textContent).includes(plain(field.value.trim()));
  for (const group of field.closest("details").querySelectorAll("fieldset")) {
    const rows = [...group.querySelectorAll("p")];
    const isNamed = has(group.closest(".options > fieldset").querySelector("legend"));
    for (const row of rows) row.hidden = !isNamed && !has(row);
    group.hidden = rows.every((row) => row.hidden);
  }
}

async function copy(button) {
  const source = document.querySelector(button.dataset.copy);
  const text = source?.rows ? [...source.rows].map(writeRow).join("\n") : (source?.textContent ?? "");
  try {
    await navigator.clipboard.writeText(text);
    announce(says.copied);
    button.dataset.label ??= button.textContent;
    button.textContent = says.copied;
    setTimeout(() => (button.textContent = button.dataset.label), 1500);
  } catch {
    getSelection().selectAllChildren(document.querySelector(button.dataset.copy));
    announce(says.select);
  }
}

// A row of a table as a spreadsheet takes it: numbers in full, texts that it can't take for a formula.
function writeRow(row) {
  const text = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
  const write = (cell) => (/^-?[\d.]+$/.test(cell.title) ? cell.title : text(cell).replace(/^(?=[=+\-@])(?!.*%$)/, "'"));
  return [...row.cells].map(write).join("\t");
}

// A menu closes when something else is pressed, and by Escape, which leads back to where it was opened.
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.export[open]")) if (menu !== except) menu.open = false;
}

document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.export[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

addEventListener("popstate", () => load(location.href, { keepAddress: true }));
// One step back or forward that was made before this script ran changed the address alone.
const [shown = { name: location.href }] = performance.getEntriesByType("navigation");
if (new URL(shown.name).search !== location.search) load(location.href, { keepAddress: true });

// A page that shows something unfinished says after how many seconds it is to be looked at again.
let timer = null;
function watch() {
  clearTimeout(timer);
  for (const each of document.querySelectorAll("[data-copy], label:has([data-narrow])")) each.hidden = false;
  for (const form of document.querySelectorAll("form[data-at-once]")) sent.set(form, serialize(form));
  const seconds = Number(document.querySelector("main").dataset.again ?? 0);
  if (seconds > 0) timer = setTimeout(again, seconds * 1000);
}

function again() {
  if (document.hidden || running) timer = setTimeout(again, 1000);
  else load(location.href, { keepAddress: true, quiet: true });
}

watch();

// A link that is shown once is the answer to a form. Loaded again, the page is asked for, and the form not sent again.
const once = document.querySelector("[data-once]");
if (once) history.replaceState(null, "", once.dataset.once);
