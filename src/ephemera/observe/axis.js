// The axis: a lane for the tests and one for each service, and looking closer at a part of it.
const holder = byId("timeline");
const tip = byId("tip");
const TESTS_ROW = 13;
let svg = null;
let scale = null;

// Under xdist tests overlap: each goes to the first row that is free.
function rowsOfTests() {
  const ends = [];
  for (const test of [...tests].sort((one, other) => one.start - other.start)) {
    let row = ends.findIndex((end) => end <= test.start + 0.0005);
    if (row < 0) row = ends.length < 8 ? ends.length : ends.indexOf(Math.min(...ends));
    ends[row] = test.stop;
    test.row = row;
  }
  return ends.length;
}
const testRows = rowsOfTests();

function lives(index) {
  // From the events; a container whose start was not recorded began when Docker says.
  const spans = [];
  let start = null;
  for (const event of events.filter((one) => one.service === index)) {
    if (event.action === "start") start = event.time;
    else if (event.action === "die") {
      spans.push([start ?? services[index].created ?? first, event.time]);
      start = null;
    }
  }
  if (start !== null) spans.push([start, services[index].ended ?? data.taken]);
  else if (!spans.length && services[index].created) {
    spans.push([services[index].created, services[index].ended ?? data.taken]);
  }
  return spans;
}

function ticks(from, to, count) {
  const rough = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil((from - first) / step) * step; at <= to - first; at += step) found.push([first + at, at, step]);
  return found;
}

function render() {
  const width = Math.max(300, holder.clientWidth);
  const narrow = width < 700;
  const left = narrow ? 6 : 128;
  const right = width - 10;
  const [from, to] = view;
  const x = (time) => left + ((time - from) / (to - from)) * (right - left);
  const within = (start, stop) => stop >= from && start <= to;
  const clip = (value) => Math.min(right, Math.max(left, value));
  scale = { x, time: (at) => from + ((at - left) / (right - left)) * (to - from), left, right };
  const head = narrow ? 18 : 0;
  const testsHeight = testRows ? testRows * TESTS_ROW + 8 + head : 0;
  const laneHeight = 24 + head;
  const curveHeight = 34;
  const heights = services.map((service) => laneHeight + (service.usage.length > 1 ? curveHeight : 0) + 6);
  const height = 34 + testsHeight + heights.reduce((sum, one) => sum + one, 0) + 4;
  svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "what happened when" });
  const add = (name, attributes, text, hint, time) => {
    const element = draw(name, attributes, text);
    if (hint) element.dataset.hint = hint;
    if (time !== undefined) element.dataset.time = time;
    svg.append(element);
    return element;
  };

  const marks = ticks(from, to, narrow ? 4 : Math.max(4, Math.floor((right - left) / 110)));
  const digits = marks.length ? Math.max(0, -Math.floor(Math.log10(marks[0][2]) + 1e-9)) : 0;
  for (const [time, offset] of marks) {
    add("line", { class: "grid", x1: x(time), x2: x(time), y1: 20, y2: height });
    add("text", { x: Math.min(x(time), right - 30), y: 14, "text-anchor": "middle" }, `+${offset.toFixed(digits)} s`);
  }
  if (!narrow) add("text", { x: 8, y: 14 }, `${clock(first, 0)} UTC`);
  for (const test of failed) {
    if (!within(test.start, test.stop)) continue;
    const start = clip(x(test.start));
    add("rect", { class: "band", x: start, width: Math.max(2, clip(x(test.stop)) - start), y: 20, height: height - 20 });
  }
  const sessions = data.sessions.filter(([time]) => within(time, time));
  let free = -Infinity;
  for (const [time, what] of sessions) {
    add("line", { class: "session", x1: x(time), x2: x(time), y1: 20, y2: height });
    if (x(time) < free) continue;  // its name would cover the one before
    add("text", { class: "session", x: x(time) + 3, y: 30 }, what, `${clock(time)} ${what}`);
    free = x(time) + 8 + 6 * what.length;
  }

  if (data.failure && within(data.taken, data.taken)) {
    add("line", { class: "end", x1: x(data.taken), x2: x(data.taken), y1: 20, y2: height });
    add("text", { class: "end", x: x(data.taken) - 4, y: 30 }, data.failure, data.failure, data.taken);
  }

  let y = 34;
  if (testRows) {
    add("text", { class: "name", x: 8, y: y + 12 }, "tests");
    if (!narrow && failed.length) add("text", { x: 46, y: y + 12 }, `${failed.length} failed`);
    for (const test of tests) {
      if (!within(test.start, test.stop)) continue;
      const start = clip(x(test.start));
      const attributes = { class: test.outcome, x: start, y: y + head + test.row * TESTS_ROW + 2, rx: 2,
        width: Math.max(2, clip(x(test.stop)) - start - 0.5), height: TESTS_ROW - 3 };
      const text = test.outcome === "failed" ? `\n${test.text}` : "";
      add("rect", attributes, undefined,
        `${test.name} ${test.outcome} (${(test.stop - test.start).toFixed(2)} s, ${since(test.start)})${text}`, test.start);
    }
    y += testsHeight;
  }

  services.forEach((service, index) => {
    add("line", { class: "lane", x1: 0, x2: width, y1: y, y2: y });
    const label = add("text", { class: "name", x: 8, y: y + 16 }, service.name, service.name);
    if (!narrow && service.name.length > 17) label.textContent = `${service.name.slice(0, 16)}…`;
    const top = y + head + 6;
    for (const [start, stop] of lives(index)) {
      if (!within(start, stop)) continue;
      add("rect", { class: "running", x: clip(x(start)), width: Math.max(1, clip(x(stop)) - clip(x(start))), y: top + 11,
        height: 3 });
    }
    // A gate's states in order: each lasts until the next, ready until the container's end.
    // While it waits, its last line is told again and again: that is one span.
    const states = gates.filter((gate) => gate.service === index).filter((gate, position, all) =>
      !(position && gate.state === "waiting" && all[position - 1].state === "waiting"));
    const deaths = events.filter((event) => event.service === index && event.action === "die").map((event) => event.time);
    states.forEach(({ time, state, detail }, position) => {
      if (state === "failed") {
        add("text", { class: "mark bad", x: clip(x(time)), y: top + 12 }, "✖", `gate failed: ${detail}`, time);
        return;
      }
      const death = deaths.find((one) => one > time) ?? service.ended ?? data.taken;
      const next = states[position + 1] ? states[position + 1].time : state === "ready" ? death : Math.min(death, data.taken);
      const stop = state === "ready" ? Math.min(next, death) : next;
      if (!within(time, stop)) return;
      const start = clip(x(time));
      add("rect", { class: state, x: start, width: Math.max(1, clip(x(stop)) - start), y: top, height: 10, rx: 1 },
        undefined, `${service.name}: gate ${state} at ${since(time)}${detail ? `\n${detail}` : ""}`, time);
    });
    // Marks of the log: one a pixel is all that can be seen.
    const seen = new Map();
    for (const [time, owner, , bad] of data.lines) {
      if (owner !== index || !within(time, time)) continue;
      const at = Math.round(x(time));
      seen.set(at, seen.get(at) || bad);
    }
    for (const [at, bad] of seen) {
      add("line", { class: bad ? "errorline" : "someline", x1: at, x2: at, y1: top + (bad ? 8 : 14), y2: top + 18 });
    }
    const taken = [];
    for (const event of events.filter((one) => one.service === index && within(one.time, one.time))) {
      const [text, kind] = sign(event);
      // Marks that would cover each other move aside, and keep their time in the hint.
      let at = x(event.time);
      while (taken.some((other) => Math.abs(other - at) < 9)) at += 9;
      taken.push(at);
      add("text", { class: `mark ${kind}`, x: Math.min(at, right), y: top + 10 }, text,
        `${told(event)}\n${clock(event.time)}, ${since(event.time)}`, event.time);
    }
    y += laneHeight + 6;
    if (service.usage.length > 1) {
      curves(add, service, x, y - 4, curveHeight - 4, within, left, narrow, right);
      y += curveHeight;
    }
  });
  add("line", { class: "cursor", id: "cursor", x1: -9, x2: -9, y1: 20, y2: height });
  add("rect", { class: "selection", id: "selection", x: -9, width: 0, y: 20, height });
  holder.replaceChildren(svg);
  const closer = view !== whole;
  byId("range").textContent = `${clock(Math.max(first, from))} to ${clock(Math.min(last, to))} UTC, ` +
    `${Math.min(last, to) - Math.max(first, from) < 100 ? (Math.min(last, to) - Math.max(first, from)).toFixed(1) : Math.round(to - from)} s` +
    (closer ? " (a part)" : "");
}

function curves(add, service, x, top, height, within, left, narrow, right) {
  const points = service.usage.filter((point, position) => {
    const before = service.usage[position - 1];
    const after = service.usage[position + 1];
    return within(before ? before[0] : point[0], after ? after[0] : point[0]);
  });
  if (points.length < 2) return;
  const limit = service.limit || Math.max(...service.usage.map((point) => point[1])) * 1.2 || 1;
  const cores = Math.max(0.25, ...service.usage.map((point) => point[2]));
  const at = (time) => Math.min(right, Math.max(left, x(time))).toFixed(1);
  // A gap in the samples is a gap in the curve.
  const runs = [[]];
  points.forEach((point, position) => {
    if (position && point[0] - points[position - 1][0] > 7) runs.push([]);
    runs[runs.length - 1].push(point);
  });
  for (const run of runs) {
    const memory = run.map((point) => `${at(point[0])},${(top + height - (Math.min(1, point[1] / limit)) * height).toFixed(1)}`);
    const base = (top + height).toFixed(1);
    add("polygon", { class: "memory",
      points: `${at(run[0][0])},${base} ${memory.join(" ")} ${at(run[run.length - 1][0])},${base}` });
    add("polyline", { class: "used", points: memory.join(" ") });
    add("polyline", { class: "cpu", points: run.map((point) =>
      `${at(point[0])},${(top + height - (point[2] / cores) * height).toFixed(1)}`).join(" ") });
  }
  const peak = Math.max(...service.usage.map((point) => point[1]));
  const busiest = Math.max(...service.usage.map((point) => point[2]));
  const memory = `${mebibytes(peak)}${service.limit ? ` of ${mebibytes(service.limit)}` : ""}`;
  if (narrow) return;
  add("text", { class: "memory", x: 8, y: top + 11 }, memory, `most memory: ${memory}`);
  add("text", { class: "cpu", x: 8, y: top + 25 }, `${busiest.toFixed(2)} cores`, "most CPU between two samples");
}

// ---- looking closer
let pressed = null;
function place(event) {
  const box = svg.getBoundingClientRect();
  return ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
}
holder.addEventListener("pointerdown", (event) => { pressed = place(event); });
holder.addEventListener("pointermove", (event) => {
  if (!scale) return;
  const at = place(event);
  point(scale.time(at));
  if (pressed !== null && Math.abs(at - pressed) > 4) {
    byId("selection").setAttribute("x", Math.min(at, pressed));
    byId("selection").setAttribute("width", Math.abs(at - pressed));
  }
  const hint = event.target.dataset ? event.target.dataset.hint : "";
  const usage = hint ? "" : usageAt(scale.time(at));
  show(hint || (at > scale.left ? `${clock(scale.time(at))}  ${since(scale.time(at))}${usage}` : ""), event);
});
holder.addEventListener("pointerleave", () => { tip.hidden = true; point(null); });
window.addEventListener("pointerup", (event) => {
  if (pressed === null) return;
  const start = pressed;
  pressed = null;
  byId("selection").setAttribute("width", 0);
  if (!holder.contains(event.target)) return;
  const at = place(event);
  if (Math.abs(at - start) > 4) {
    look([scale.time(Math.max(scale.left, Math.min(at, start))), scale.time(Math.min(scale.right, Math.max(at, start)))]);
  } else {
    goTo(event.target.dataset.time ? Number(event.target.dataset.time) : scale.time(at));
  }
});
holder.addEventListener("dblclick", () => look(whole));
byId("whole").addEventListener("click", () => look(whole));
let next = 0;
byId("failure").hidden = !failed.length;
byId("failure").textContent = failed.length > 1 ? "next failure" : "the failure";
byId("failure").addEventListener("click", () => {
  lookAt(failed[next % failed.length]);
  next += 1;
});
document.querySelectorAll("details.failure").forEach((details, position) => {
  details.querySelector("summary").addEventListener("click", () => lookAt(failed[position]));
  // The end of a long text says most.
  const toEnds = () => details.querySelectorAll("pre").forEach((text) => { text.scrollTop = text.scrollHeight; });
  details.addEventListener("toggle", toEnds);
  toEnds();
});
function look(range) {
  view = range[1] - range[0] < 0.002 ? whole : range;
  render();
  filter();
}
function lookAt(test) {
  look(around(test));
  goTo(test.stop);
}
function point(time) {
  const cursor = byId("cursor");
  if (!cursor) return;
  const at = time === null ? -9 : scale.x(time);
  cursor.setAttribute("x1", at);
  cursor.setAttribute("x2", at);
}
function show(text, event) {
  tip.hidden = !text;
  tip.textContent = text;
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 16, window.innerHeight - tip.offsetHeight - 8)}px`;
}
function usageAt(time) {
  let text = "";
  for (const service of services) {
    const near = service.usage.filter((sample) => Math.abs(sample[0] - time) < 2.1)
      .sort((one, other) => Math.abs(one[0] - time) - Math.abs(other[0] - time))[0];
    if (near) text += `\n${service.name}: ${mebibytes(near[1])}, ${near[2].toFixed(2)} cores, ${near[3]} processes`;
  }
  return text;
}
