// The dynamic parts of the page: charts, sorting, filters, the link to a cell. All text is in the markup.

/** The compressed content of an element. Uncompressed, the charts' library and data would be three quarters of the page. */
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const data = JSON.parse(await unpacked("data"));
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const say = (text) => { document.getElementById("said").textContent = text; };

// ---------------------------------------------------------------- charts

/** Load the library when the first chart is drawn. It runs as an element, since the page's policy has its hash. */
let library;
const vega = () => library ??= new Promise((here) => {
  window.vegaIsHere = here;
  unpacked("vega").then((source) => {
    const script = document.createElement("script");
    script.type = "module";
    script.textContent = source;
    document.head.append(script);
  });
});

/** Format a number. The specifications call this function. */
function shown(number, unit) {
  const digits = (value) => String(Number(value.toPrecision(4))); // ticks of a narrow axis differ in the fourth
  const scaled = (scales) => {
    const [scale, name] = scales.find(([scale]) => Math.abs(number) >= 0.9995 * scale) ?? scales.at(-1);
    return `${digits(number / scale)} ${name}`;
  };
  if (number === 0) return "0";
  if (unit === "seconds") return scaled([[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"], [1e-12, "ps"]]);
  if (unit === "bytes") return scaled([[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]]);
  const isWritten = Math.abs(number) < 1e15 && (Number.isInteger(number) || Math.abs(number) >= 1000); // as in units.py
  return `${isWritten ? Math.round(number).toLocaleString("en-US") : digits(number)} ${unit}`;
}

const AT_ONCE = 6;

/** The rows as objects; `cell` holds a number, and its name is `name`. */
function records(chart) {
  return chart.rows.map((row) => {
    const record = Object.fromEntries(chart.columns.map((column, index) => [column, row[index]]));
    if ("cell" in record) record.name = data.cells[record.cell];
    return record;
  });
}

/** The chart of a figure, by its number in the markup, or as chosen by the reader. */
const charts = new WeakMap();
const chartOf = (figure) => charts.get(figure) ?? data.charts[figure.dataset.chart];

/** Give each chosen line a fixed colour, dash and shape. The others are grey. */
function tellApart(spec, rows, slots) {
  const names = [...slots.keys()].sort((one, other) => slots.get(one) - slots.get(other));
  const range = (from) => names.map((name) => from[slots.get(name)]);
  const ranges = { color: range(data.colours), strokeDash: range(data.dashes), shape: range(data.shapes) };
  for (const layer of spec.layer) {
    for (const [channel, values] of Object.entries(ranges)) {
      if (layer.encoding?.[channel]) layer.encoding[channel].scale = { domain: names, range: values };
    }
  }
  for (const row of rows) row.chosen = slots.has(row.line);
}

async function draw(figure) {
  const chart = chartOf(figure);
  if (!chart) return;
  const plot = figure.querySelector(".plot");
  const spec = structuredClone(typeof chart.spec === "string" ? data.specs[chart.spec] : chart.spec);
  const rows = records(chart);
  if (chart.columns.includes("line")) tellApart(spec, rows, slotsOf(figure, rows));
  for (const param of spec.params ?? []) param.value = chart.params?.[param.name] ?? param.value;
  spec.datasets = { rows, ...chart.datasets };
  const style = structuredClone(data.style);
  if (plot.clientWidth < 520) {
    style.legend.columns = 1;
    style.axisY.labelLimit = 140;
  }
  for (const [channel, title] of Object.entries(chart.axes ?? {})) spec.encoding[channel].axis.title = title;
  const embed = await vega();
  if (chartOf(figure) !== chart) return; // another one was chosen meanwhile
  figure.view?.finalize();
  // Keep the plot's own label. The library would replace it, and label every mark.
  const canvas = document.createElement("div");
  canvas.setAttribute("aria-hidden", "true");
  plot.replaceChildren(canvas);
  const { view } = await embed(canvas, spec, {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, config: style,
    tooltip: { disableDefaultStyle: true }, expressionFunctions: { shown }, logLevel: 1, // a chart may have an empty layer
  });
  figure.view = view;
  view.addEventListener("click", (event, item) => {
    const cell = item?.datum?.name;
    if (cell) location.hash = anchor(cell);
  });
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    near.unobserve(entry.target);
    draw(entry.target.closest("figure"));
  }
}, { rootMargin: "400px" });

/** Draw a figure when it is about to be visible, or again if it has been drawn. */
const drawLater = (figure) => {
  const plot = figure.querySelector(".plot");
  near.unobserve(plot);
  near.observe(plot);
};

function show(figure, chart, alt) {
  charts.set(figure, chart);
  figure.querySelector(".plot").setAttribute("aria-label", alt);
  for (const details of all("details.data", figure)) {
    details.open = false;
    all(".scroll", details).forEach((old) => old.remove());
  }
  drawLater(figure);
}

// ---------------------------------------------------------------- lines that are chosen

const slotted = new WeakMap();

/** The slot of each chosen line of a chart. */
function slotsOf(figure, rows) {
  const picker = figure.closest("article")?.querySelector(".lines");
  if (picker) return slotted.get(picker);
  return new Map([...new Set(rows.map((row) => row.line))].map((line, slot) => [line, slot]));
}

for (const picker of all(".lines")) {
  const boxes = all("input", picker);
  const slots = new Map();
  const update = () => {
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    for (const line of slots.keys()) if (!chosen.has(line)) slots.delete(line);
    for (const line of chosen) {
      const taken = new Set(slots.values());
      if (!slots.has(line)) slots.set(line, [...Array(AT_ONCE).keys()].find((slot) => !taken.has(slot)));
    }
    for (const box of boxes) box.disabled = !box.checked && chosen.size >= AT_ONCE;
  };
  slotted.set(picker, slots);
  update();
  picker.addEventListener("change", () => {
    update();
    for (const figure of all("figure", picker.closest("article"))) draw(figure);
  });
}

// ---------------------------------------------------------------- one of several

function oneOf(choice, selector) {
  const blocks = all(selector);
  if (!blocks.length) return;
  const pick = (id) => blocks.forEach((block) => block.classList.toggle("shown", block.id === id));
  const select = document.getElementById(choice);
  pick(select ? select.value : blocks[0].id);
  select?.addEventListener("change", () => pick(select.value));
  return (id) => { if (select) select.value = id; pick(id); };
}
const pickCost = oneOf("cost-choice", ".cost");
const pickBound = oneOf("bound-choice", ".bound");

// ---------------------------------------------------------------- tables of charts, downloads

/** A number for a table. Downloads have all digits. */
const plain = (value) => typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : value ?? "";

function exported(chart) {
  return [chart.titles, ...chart.rows.map((row) =>
    row.map((value, index) => chart.columns[index] === "cell" ? data.cells[value] : value ?? ""))];
}

function tableOf(chart, label) {
  const region = document.createElement("div");
  Object.assign(region, { className: "scroll", tabIndex: 0 });
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", label);
  const table = region.appendChild(document.createElement("table"));
  const [titles, ...rows] = exported(chart);
  const head = table.createTHead().insertRow();
  for (const title of titles) {
    const th = head.appendChild(document.createElement("th"));
    th.scope = "col";
    th.textContent = title;
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const value of row) {
      const td = line.insertCell();
      td.textContent = plain(value);
      if (typeof value === "number") td.className = "num";
    }
  }
  return region;
}

document.addEventListener("toggle", (event) => {
  const figure = event.target.closest?.("figure");
  if (!figure || !event.target.open || !event.target.matches("details.data")) return;
  if (!event.target.querySelector(".scroll")) {
    event.target.append(tableOf(chartOf(figure), `Table: ${figure.querySelector(".plot").getAttribute("aria-label")}`));
  }
}, true);

function download(rows, name) {
  // A spreadsheet would take such a text for a formula.
  const asText = (value) => typeof value === "string" && Number.isNaN(Number(value)) && /^[=+\-@＝＋－＠]/.test(value) ? `'${value}` : String(value);
  const quoted = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const text = rows.map((row) => row.map(asText).map(quoted).join(",")).join("\r\n") + "\r\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
  say(`${name} was downloaded.`);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.csv");
  if (!button) return;
  const id = button.dataset.table;
  if (!id) return download(exported(chartOf(button.closest("figure"))), "chart.csv");
  const rows = all("tr", document.getElementById(id));
  download(rows.map((row) => [...row.cells].map((cell) => cell.dataset.v || textOf(cell))), `${id}.csv`);
});

// ---------------------------------------------------------------- sorting and finding

const textOf = (cell) => (cell.querySelector(".cell, code") ?? cell).textContent.trim().replace(/\s+/g, " ");

/** The sort key of a table's cell: a number if it has one, or else its text. */
function keyOf(cell) {
  const value = cell.dataset.v;
  if (value === undefined) return textOf(cell);
  return value === "" || Number.isNaN(Number(value)) ? value : Number(value);
}

function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((th, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => {
      const first = th.dataset.first ?? "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = th.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const keyed = [...body.rows].map((row) => [keyOf(row.cells[column]), row]);
      keyed.sort(([one], [two]) => {
        if (one === "" || two === "") return (one === "") - (two === ""); // nothing to sort by: last, either way
        return sign * (typeof one === "number" ? one - two : one.localeCompare(two, "en", { numeric: true }));
      });
      body.append(...keyed.map(([, row]) => row));
      say(`Sorted by ${textOf(th)}, ${order}.`);
    });
  });
}
all("table.sortable").forEach(sortable);

/** Whether a text contains every searched word. */
const holds = (text, words) => words.every((word) => text.includes(word));
const wordsOf = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);

/** Show all rows, or all options, again. */
function unfiltered(input) {
  input.value = "";
  input.dispatchEvent(new Event("input"));
}

function finder(input) {
  const table = document.getElementById(input.dataset.finds);
  const count = document.querySelector(`[data-counts="${input.dataset.finds}"]`);
  const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
  const find = () => {
    const words = wordsOf(input);
    let found = 0;
    for (const [row, text] of rows) {
      row.hidden = !holds(text, words);
      found += !row.hidden;
    }
    count.textContent = words.length ? `${found} of ${rows.length}` : `${rows.length} rows`;
  };
  input.addEventListener("input", find);
  find();
}
all("input[data-finds]").forEach(finder);

document.getElementById("job-finder")?.addEventListener("input", (event) => {
  const words = wordsOf(event.target);
  for (const job of all("#idioms .job")) job.hidden = !holds(job.textContent.toLowerCase(), words);
});

// ---------------------------------------------------------------- laws

const LAW = {
  columns: ["label", "n", "value", "low", "high", "fitted", "relative", "departs", "why", "cell"],
  titles: ["at", "n", "measured", "low", "high", "law", "measured over law, less 1", "departs", "why", "cell"],
};

function showLaw(number) {
  const law = data.laws[number];
  if (!law) return;
  const [fixed, each, bend, beyond] = law.law;
  const at = law.rows.map((row) => row[1]);
  const [first, last] = [Math.min(...at), Math.max(...at)];
  const line = first > 0 ? [...Array(61).keys()].map((step) => {
    const n = first * (last / first) ** (step / 60);
    const value = bend === null ? fixed + each * n : fixed + each * Math.min(n, bend) + beyond * Math.max(0, n - bend);
    return { n, value };
  }).filter((point) => point.value > 0) : [];
  const chart = { ...LAW, rows: law.rows, axes: { x: law.counts }, params: { unit: law.unit, ticks: law.ticks }, datasets: { law: line } };
  const away = law.rows.filter((row) => row[7]).length;
  const alt = `${law.title}: ${law.sentence} ${away || "None"} of ${law.rows.length} points depart from the law.`;
  document.getElementById("law-sentence").textContent = `${law.title}: ${law.sentence}`;
  show(document.getElementById("law-chart"), { ...chart, spec: "law" }, alt);
  show(document.getElementById("residual-chart"), { ...chart, spec: "residuals" }, `What the law leaves over. ${alt}`);
  all("#growth-table tr").forEach((row) => row.classList.toggle("shown", row.id === `law-${number}`));
}

// ---------------------------------------------------------------- history

const TRACK = ["at", "commit", "subject", "value", "low", "high", "cell"];

function showTrack(article, number) {
  const history = data.histories[article.dataset.history];
  const track = history.tracks[number];
  const ends = (ticks, index, sign) => ticks[index] === null ? null : (track.value[index] + sign * ticks[index]) * track.tick;
  const rows = track.value.map((value, index) => {
    const at = track.at ? track.at[index] : index;
    return [at, history.commits[at], history.subjects[at], value * track.tick, ends(track.less, index, -1), ends(track.more, index, 1), track.cell];
  });
  const changes = track.changes.map(([at, words]) => [at, "change point", words]);
  const stacked = new Map();
  const marks = [...changes, ...history.marks].map(([at, kind, words]) => {
    const row = stacked.get(at) ?? 0;
    stacked.set(at, row + 1);
    return { at, kind, words, row, label: kind === "change point" || kind === "torch upgrade", commit: history.commits[at] };
  });
  const chart = {
    columns: TRACK, titles: TRACK.with(0, "number").with(3, track.unit || "value"), rows, spec: "track",
    params: { unit: track.unit, commits: history.commits }, datasets: { marks },
    axes: { y: track.unit === "seconds" ? "time a call" : track.unit },
  };
  const name = data.cells[track.cell];
  const said = changes.map(([at, , words]) => `${words} since ${history.commits[at]}`).join("; ");
  const figure = article.querySelector("figure");
  figure.querySelector("figcaption").textContent = name;
  show(figure, chart, `Line chart of ${name} over ${rows.length} commits. ${said ? `Change points: ${said}.` : "No change point."}`);
  article.querySelector(".track-choice").value = String(number);
}

for (const article of all(".history")) {
  const choice = article.querySelector(".track-choice");
  if (!choice) continue;
  const options = data.histories[article.dataset.history].tracks.map((track, number) => {
    const changes = track.changes.length;
    const more = changes ? ` (${changes} change ${changes > 1 ? "points" : "point"})` : "";
    return [changes, new Option(data.cells[track.cell] + more, String(number))];
  });
  options.sort(([one], [two]) => Math.sign(two) - Math.sign(one)); // stable: by name within each
  choice.append(...options.map(([, option]) => option));
  choice.addEventListener("change", () => showTrack(article, Number(choice.value)));
  article.querySelector(".track-finder").addEventListener("input", (event) => {
    const words = wordsOf(event.target);
    const found = options.map(([, option]) => option).filter((option) => holds(option.text.toLowerCase(), words));
    choice.replaceChildren(...found);
    if (found.length) showTrack(article, Number(found[0].value));
  });
  if (options.length) showTrack(article, Number(choice.value));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-track]");
  if (!link) return;
  const article = link.closest(".history");
  unfiltered(article.querySelector(".track-finder"));
  showTrack(article, Number(link.dataset.track));
});

// ---------------------------------------------------------------- commands to copy, links to a cell

for (const row of all("#cells-table tbody tr")) {
  const link = document.createElement("a");
  Object.assign(link, { className: "sign", href: `#${row.id}`, textContent: "#" });
  link.setAttribute("aria-label", `Link to ${textOf(row.cells[0])}`);
  row.cells[0].prepend(link, " ");
}

for (const cell of all("td.again")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  const name = cell.closest("tr").querySelector("th .cell").textContent;
  button.setAttribute("aria-label", `Copy the command for ${name}`);
  cell.querySelector("code").before(button);
}

for (const block of all(".code")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy the code");
  block.prepend(button);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("td.again button, .code button");
  if (!button) return;
  const code = button.closest("td, .code").querySelector("code");
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(code.textContent);
  } else { // not offered to a page from http
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  say(`The ${button.closest("td") ? "command" : "code"} was copied.`);
});

// ---------------------------------------------------------------- links

const encoded = (text) => encodeURI(text.replace(/\s+/g, "_"));
const anchor = (cell) => `cell=${encoded(cell)}`;

/** The target in an address. A person may have typed it, so a % need not begin a code. */
function decoded(hash) {
  try {
    return decodeURIComponent(hash);
  } catch {
    return hash;
  }
}

/** Show the target of a link, and open the elements around it. */
function follow() {
  const hash = location.hash.slice(1);
  const target = document.getElementById(hash) ?? document.getElementById(encoded(decoded(hash)));
  if (!target) return;
  const { id } = target;
  if (target.matches(".cost")) pickCost(id);
  if (target.matches(".bound")) pickBound(id);
  if (/^law-\d+$/.test(id)) {
    showLaw(Number(id.slice(4)));
    document.getElementById("law-view").scrollIntoView({ block: "start" });
    return;
  }
  const finds = target.hidden && document.querySelector(`input[data-finds="${target.closest("table").id}"]`);
  if (finds) unfiltered(finds);
  for (let folded = target.closest("details"); folded; folded = folded.parentElement.closest("details")) folded.open = true;
  all("#cells-table .shown").forEach((row) => row.classList.remove("shown"));
  if (target.matches("tr")) {
    target.classList.add("shown");
    target.scrollIntoView({ block: "center" });
  } else {
    target.scrollIntoView({ block: "start" });
  }
}

all("figure.chart[data-chart]").forEach(drawLater);
showLaw(0);
addEventListener("hashchange", follow);
follow();

const links = new Map(all("nav.sections a").map((link) => [link.hash.slice(1), link]));
const passing = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    const here = links.get(target.id) ?? links.values().next().value; // the head has no link of its own
    links.forEach((link) => link.removeAttribute("aria-current"));
    if (!here) continue; // a page of one section has no links
    here.setAttribute("aria-current", "location");
    here.closest("ul").scrollTo({ left: here.offsetLeft - 80 });
  }
}, { rootMargin: "-12% 0px -85% 0px" });
all(".head, main > section").forEach((section) => passing.observe(section));

let opened = [];
addEventListener("beforeprint", () => {
  opened = all("details:not([open])", document.querySelector("main"));
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
