// Charts over time answer: a crosshair over all charts of the page tells a day and its numbers, by mouse, touch and keys.
// A chart within data-range selects days, and leads there: one by a click or Enter, several by dragging. A finger reads and
// scrolls: for it there are buttons below the chart, and a range ends at the day that is touched next.
// Countries of a map tell their names and numbers.

const readings = new WeakMap(); // What a figure carries: its times, days and lines.
let range = null; // The place from which days are being selected, and the layer that it began in.
let isTouched = false; // Whether charts are read by a finger.

function enhance() {
  // Browsers show a title late, and not at all where it is touched.
  for (const title of document.querySelectorAll(".chart-map .chart-land > title")) {
    title.parentElement.dataset.says = title.textContent;
    title.remove();
  }
  for (const figure of document.querySelectorAll("figure[data-readings]")) {
    if (readings.has(figure)) continue;
    const { times } = readings.set(figure, JSON.parse(figure.dataset.readings)).get(figure);
    if (!times.length || !figure.querySelector(".chart-plot")) continue;
    const layer = make("div", "chart-layer", figure.querySelector(".chart-pictures"));
    if (figure.closest("[data-range]")) layer.classList.add("chart-ranging");
    layer.tabIndex = 0;
    layer.role = "slider";
    layer.ariaLabel = figure.ariaLabel;
    layer.ariaDescription = figure.closest("[data-hint]")?.dataset.hint ?? null;
    layer.ariaValueMin = 1;
    layer.ariaValueMax = times.length;
    say(figure, times.length - 1);
    layer.addEventListener("pointerdown", press);
    layer.addEventListener("pointermove", move);
    layer.addEventListener("pointerup", release);
    layer.addEventListener("pointercancel", () => (range ? show(figureOf(range.layer), range.from) : clear()));
    layer.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && !range && clear());
    layer.addEventListener("keydown", press_key);
    layer.addEventListener("focus", () => layer.matches(":focus-visible") && show(figure, Number(layer.ariaValueNow) - 1));
    layer.addEventListener("blur", ({ relatedTarget }) => relatedTarget?.closest(".chart-range") || clear());
  }
}

function make(name, kind, parent, text = "") {
  const element = document.createElement(name);
  element.className = kind;
  element.textContent = text;
  parent.append(element);
  return element;
}

const layers = () => [...document.querySelectorAll(".chart-layer")];
const figureOf = (layer) => layer.closest("figure");

function clear() {
  range = null;
  for (const layer of layers()) layer.replaceChildren();
  for (const tip of document.querySelectorAll(".chart-tip, .chart-range")) tip.remove();
}

function nameLand({ target, clientX, clientY }) {
  const says = target.dataset?.says;
  if (!says) return;
  clear();
  const pictures = target.closest(".chart-pictures");
  const { left, top, width } = pictures.getBoundingClientRect();
  const tip = make("div", "chart-tip", pictures);
  make("b", "", tip, says);
  const across = Math.min(Math.max(clientX - left - tip.offsetWidth / 2, 0), width - tip.offsetWidth);
  const above = clientY - top - tip.offsetHeight - 14;
  tip.style.left = `${across}px`;
  tip.style.top = `${above < 0 ? clientY - top + 18 : above}px`;
}

// The area of the plot that a figure shows, as it lies in its layer.
function findPlot(layer) {
  const origin = layer.getBoundingClientRect();
  const plots = [...layer.parentElement.querySelectorAll(".chart-plot")];
  const plot = plots.find((each) => each.getBoundingClientRect().width) ?? plots[0];
  const { left, top, width, height } = plot.getBoundingClientRect();
  const { low, high, bands } = plot.dataset;
  return {
    left: left - origin.left, top: top - origin.top, width, height,
    low: Number(low), high: Number(high), bands: bands === "",
  };
}

function findPlace({ currentTarget: layer, clientX }) {
  const { times } = readings.get(figureOf(layer));
  const plot = findPlot(layer);
  const share = (clientX - layer.getBoundingClientRect().left - plot.left) / plot.width;
  const place = plot.bands ? Math.floor(share * times.length) : Math.round(share * (times.length - 1));
  return Math.min(Math.max(place, 0), times.length - 1);
}

function press(event) {
  const { currentTarget: layer, pointerType, button, pointerId } = event;
  if (button) return;
  layer.setPointerCapture(pointerId);
  isTouched = pointerType === "touch";
  const place = findPlace(event);
  if (range?.layer !== layer) range = null;
  if (!isTouched && layer.classList.contains("chart-ranging")) range = { layer, from: place };
  show(figureOf(layer), place);
}

function move(event) {
  show(figureOf(event.currentTarget), findPlace(event));
}

function release(event) {
  const place = findPlace(event);
  if (range && (range.from !== place || (!isTouched && canChoose(range.layer)))) select(place, range);
  else if (!isTouched) range = null;
}

// Whether a single time can be chosen: a day of several, a week or a month. An hour can't.
function canChoose(layer) {
  const { times, lasts } = readings.get(figureOf(layer));
  return times.length > 1 && layer.closest(lasts ? "[data-range]" : "[data-day]");
}

// Lead to the days from where a selection began to this place; of a single day to what changed.
function select(place, { layer, from }) {
  const figure = figureOf(layer);
  const { days, lasts = days } = readings.get(figure);
  const [first, last] = [from, place].sort((one, two) => one - two);
  const { range: several, day } = figure.closest("[data-range]").dataset;
  const isDay = first === last && day;
  const address = new URL(isDay ? day : several, location.href);
  const chosen = isDay ? { day: days[first] } : { from: days[first], to: lasts[last] };
  for (const [name, value] of Object.entries(chosen)) address.searchParams.set(name, value);
  clear();
  const link = make("a", "", figure);
  if (address.pathname === location.pathname) link.dataset.swap = "";
  link.href = address;
  link.click();
  link.remove();
}

function press_key(event) {
  const layer = event.currentTarget;
  const last = Number(layer.ariaValueMax) - 1;
  const now = Number(layer.ariaValueNow) - 1;
  const places = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1 };
  const far = { PageDown: now - 7, PageUp: now + 7, Home: 0, End: last };
  const place = { ...places, ...far }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (place !== undefined) {
    if (!event.shiftKey) range = null;
    else if (layer.classList.contains("chart-ranging")) range ??= { layer, from: now };
    show(figureOf(layer), Math.min(Math.max(place, 0), last));
  } else if (event.key === "Enter" && (range || canChoose(layer))) select(now, range ?? { layer, from: now });
  else if (event.key !== "Escape") return;
  else clear();
  event.preventDefault();
}

function say(figure, place) {
  const layer = figure.querySelector(".chart-layer");
  const { times, lines, settled, moving } = readings.get(figure);
  const several = lines.length > 1;
  const numbers = lines.map((line) => (several ? `${nameLine(line, place)}: ` : "") + line.texts[place]);
  const days = range && range.from !== place ? [times[range.from], times[place]].join(" – ") : times[place];
  layer.ariaValueNow = place + 1;
  layer.ariaValueText = [days, ...numbers, ...(place < settled ? [] : [moving])].join(", ");
}

const nameLine = ({ name, times }, place) => (times?.length ? `${name} (${times[place]})` : name);

// Show a time of a figure on all charts that have it.
function show(figure, place) {
  const time = readings.get(figure).times[place];
  const from = range && readings.get(figure).times[range.from];
  for (const layer of layers()) {
    const { times } = readings.get(figureOf(layer));
    const at = figureOf(layer) === figure ? place : times.indexOf(time);
    layer.replaceChildren();
    if (at >= 0) draw(layer, at, from === null ? -1 : times.indexOf(from));
  }
  for (const row of document.querySelectorAll(".chart-range")) row.remove();
  if (isTouched && figure.querySelector(".chart-ranging")) offerRange(figure, place);
  say(figure, place);
}

// Offer a finger the day, or to begin a range; one that has begun says what to do next.
function offerRange(figure, place) {
  const { from, to, only } = figure.closest("[data-range]").dataset;
  const row = make("div", "chart-range", figure);
  if (range) return make("p", "", row, to);
  const begun = { layer: figure.querySelector(".chart-layer"), from: place };
  if (canChoose(begun.layer)) {
    const words = only.replace("…", readings.get(figure).times[place]);
    make("button", "", row, words).addEventListener("click", () => select(place, begun));
  }
  make("button", "", row, from).addEventListener("click", () => {
    range = begun;
    show(figure, place);
  });
}

function draw(layer, place, from) {
  const { times, lines, settled, moving } = readings.get(figureOf(layer));
  const { hint } = layer.closest("[data-range]")?.dataset ?? {};
  const plot = findPlot(layer);
  const put = (element, box) => {
    for (const [side, size] of Object.entries(box)) element.style[side] = `${size}px`;
    return element;
  };
  const isApart = plot.bands || times.length === 1;
  const across = (at) => plot.left + plot.width * (isApart ? (at + 0.5) / times.length : at / (times.length - 1));
  const { top, height } = plot;
  const x = across(place);
  const isRange = from >= 0 && from !== place;
  if (isRange) {
    const left = Math.min(x, across(from));
    put(make("div", "chart-band", layer), { left, top, width: Math.abs(x - across(from)), height });
  }
  put(make("div", "chart-hair", layer), { left: x, top, height });
  for (const { look, values } of lines) {
    if (values[place] === null || plot.bands) continue;
    const y = top + height * (1 - (values[place] - plot.low) / (plot.high - plot.low));
    put(make("div", `chart-dot ${look}`, layer), { left: x, top: y });
  }
  const tip = make("div", "chart-tip", layer);
  tip.ariaHidden = true;
  const days = isRange ? [from, place].sort((one, two) => one - two) : [place];
  make("p", "", tip, days.map((each) => times[each]).join(" – "));
  for (const line of lines) {
    const row = make("div", "", tip);
    if (lines.length > 1) {
      make("i", `chart-swatch ${line.look}`, row);
      make("bdi", "", row, nameLine(line, place));
    }
    make("b", "", row, line.texts[place]);
  }
  if (place >= settled) make("p", "", tip, moving);
  if (hint && from < 0 && !isTouched && layer.matches(":hover, :focus")) make("small", "", tip, hint);
  const room = layer.clientWidth - tip.offsetWidth;
  const beside = x > plot.left + plot.width / 2 ? x - tip.offsetWidth - 12 : x + 12;
  put(tip, { left: Math.min(Math.max(beside, 0), Math.max(room, 0)), top });
}

new MutationObserver(enhance).observe(document.body, { childList: true });
addEventListener("resize", clear);
document.addEventListener("pointermove", nameLand);
document.addEventListener("pointerout", ({ target, pointerType }) => target.dataset?.says && pointerType === "mouse" && clear());
document.addEventListener("pointerdown", (event) => {
  // A finger that scrolls the page elsewhere ends no range that it began.
  if (!event.target.closest(".chart-layer, .chart-range") && !(range && event.pointerType === "touch")) clear();
  nameLand(event);
});
document.addEventListener("click", ({ target }) => range && !target.closest(".chart-layer, .chart-range") && clear());
document.addEventListener("keydown", (event) => event.key === "Escape" && clear());
enhance();
