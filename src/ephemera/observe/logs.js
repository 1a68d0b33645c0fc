// The logs: a column for each service, rows by time, events and tests between them; then all is drawn.
const shown = new Set(services.map((_, index) => index));
const rows = [];
function inside(time) { return failed.some((test) => time >= test.start && time <= test.stop); }

function build() {
  const entries = [
    ...data.lines.map(([time, service, text, bad]) => ({ time, service, text, bad, kind: "line" })),
    ...events.map((event) => ({ time: event.time, service: event.service, text: `${sign(event)[0]} ${told(event)}`,
      bad: sign(event)[1] === "bad", kind: "event" })),
    ...gates.filter((gate, position, all) => gate.state !== "waiting" || !all.slice(0, position).some((other) =>
      other.service === gate.service && other.state === "waiting")).map(({ time, service, state, detail }) => ({ time, service,
      text: `◇ gate ${state} ${state === "failed" ? detail : ""}`, bad: state === "failed", kind: "event" })),
    ...tests.map((test) => ({ time: test.start, service: null, bad: test.outcome === "failed", kind: "test",
      text: test.outcome === "failed" ? `▼ ${test.name} begins, and will fail` : `▼ ${test.name} (${test.outcome})` })),
    ...failed.map((test) => ({ time: test.stop, service: null, bad: true, kind: "test",
      text: `▲ ${test.name} failed: ${test.text}` })),
    ...data.sessions.map(([time, what]) => ({ time, service: null, bad: false, kind: "test", text: `◈ ${what} begins` })),
  ];
  entries.sort((one, other) => one.time - other.time);
  const head = make("div", { class: "row head" }, make("time", {}, "UTC"));
  services.forEach((service, index) => {
    const cell = make("span", { "data-service": index }, service.name);
    if (service.log) {
      const left = service.log.left_out ? `last lines; ${service.log.left_out} earlier in the file` : "whole file";
      cell.append(make("a", { href: service.log.file }, left));
    }
    head.append(cell);
  });
  const all = document.createDocumentFragment();
  all.append(head);
  let chunk = null;
  entries.forEach((entry, position) => {
    if (position % 200 === 0) {
      chunk = make("div", { class: "chunk" });
      all.append(chunk);
    }
    const time = make("time", { title: `${since(entry.time)}` }, entry.time > 0 ? clock(entry.time) : "");
    const cell = make("span", { class: `${entry.kind}${entry.bad ? " bad" : ""}` });
    if (entry.service !== null) {
      cell.append(make("span", { class: "tag" }, `${services[entry.service].name} | `));
      cell.style.gridColumn = `var(--at-${entry.service})`;
    }
    cell.append(entry.text);
    const row = make("div", { class: inside(entry.time) ? "row inside" : "row" }, time, cell);
    chunk.append(row);
    rows.push({ row, entry, lower: entry.text.toLowerCase() });
  });
  byId("lines").append(all);
}

function filter() {
  const text = byId("filter").value;
  const onlyErrors = byId("errors").checked;
  let matches = (row) => row.lower.includes(text.toLowerCase());
  if (/^\/.+\/$/.test(text)) {
    try {
      const expression = new RegExp(text.slice(1, -1), "i");
      matches = (row) => expression.test(row.entry.text);
    } catch { matches = () => false; }
  }
  const closer = view !== whole;
  let count = 0;
  for (const row of rows) {
    const { entry } = row;
    const visible = (entry.service === null || shown.has(entry.service)) && (!onlyErrors || entry.bad) &&
      (!text || matches(row)) && (!closer || (entry.time >= view[0] && entry.time <= view[1]));
    row.row.hidden = !visible;
    row.row.style.display = visible ? "" : "none";
    if (visible && entry.kind === "line") count += 1;
  }
  // Only chosen services have a column, in their order.
  const columns = [...shown].sort((one, other) => one - other);
  const lines = byId("lines");
  services.forEach((_, index) => {
    const at = columns.indexOf(index);
    lines.style.setProperty(`--at-${index}`, at < 0 ? "2" : String(at + 2));
  });
  for (const cell of lines.querySelectorAll(".head > span")) {
    const index = Number(cell.dataset.service);
    cell.style.display = shown.has(index) ? "" : "none";
  }
  lines.style.setProperty("--columns", `6.6rem repeat(${Math.max(1, columns.length)}, minmax(14rem, 1fr))`);
  byId("count").textContent = `${count} of ${data.lines.length} lines${closer ? ", of the part above" : ""}`;
}

function goTo(time) {
  let found = null;
  for (const row of rows) {
    if (row.row.style.display === "none") continue;
    if (found === null || Math.abs(row.entry.time - time) < Math.abs(found.entry.time - time)) found = row;
  }
  if (!found) return;
  for (const marked of document.querySelectorAll(".found")) marked.classList.remove("found");
  found.row.classList.add("found");
  const lines = byId("lines");
  lines.scrollTop += found.row.getBoundingClientRect().top - lines.getBoundingClientRect().top - lines.clientHeight / 3;
  point(found.entry.time);
}

services.forEach((service, index) => {
  const button = make("button", { type: "button", "aria-pressed": "true" }, service.name);
  button.addEventListener("click", () => {
    if (shown.has(index)) shown.delete(index); else shown.add(index);
    button.setAttribute("aria-pressed", String(shown.has(index)));
    filter();
  });
  byId("services").append(button, " ");
});
let pending = 0;
byId("filter").addEventListener("input", () => {
  clearTimeout(pending);
  pending = setTimeout(filter, 120);
});
byId("errors").addEventListener("change", filter);
byId("lines").addEventListener("click", (event) => {
  const row = event.target.closest(".row:not(.head)");
  if (row && !String(window.getSelection())) row.classList.toggle("open");
});
byId("lines").addEventListener("pointermove", (event) => {
  const row = event.target.closest ? event.target.closest(".row:not(.head)") : null;
  const found = row && rows.find((one) => one.row === row);
  point(found ? found.entry.time : null);
});
let drawn = 0;
new ResizeObserver(() => {
  if (holder.clientWidth !== drawn) {
    drawn = holder.clientWidth;
    render();
  }
}).observe(holder);

build();
render();
filter();
goTo(failed.length ? failed[0].stop : data.taken);
