"use strict";
// All text comes from containers and tests: it goes into text nodes and attributes, never into markup.
const data = JSON.parse(document.getElementById("data").textContent);
const services = data.services;
const indexed = (record) => ({ ...record, service: services.findIndex((one) => one.name === record.service) });
const tests = data.tests;
const gates = data.gates.map(indexed);
// Those of the run that this is about; an environment that stays has seen earlier ones.
const failed = tests.filter((test) => test.told);
const events = data.events.map(indexed);
const byId = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
function draw(name, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// ---- time
const instants = [
  ...gates.map((gate) => gate.time), ...events.map((event) => event.time), ...data.sessions.map((one) => one[0]),
  ...tests.flatMap((test) => [test.start, test.stop]), ...data.lines.map((line) => line[0]).filter((time) => time > 0),
  ...services.flatMap((service) => service.usage.map((point) => point[0])),
  ...services.flatMap((service) => [service.created, service.ended]).filter((time) => time !== null),
];
let first = data.taken - 1;
let last = data.taken;
for (const instant of instants) {
  if (instant < first) first = instant;
  if (instant > last) last = instant;
}
const margin = Math.max(0.2, (last - first) * 0.01);
const whole = [first - margin, last + margin];
// A failed test, with what led to it and came of it.
function around(test) {
  const beside = Math.max(2, test.stop - test.start);
  return [Math.max(whole[0], test.start - beside), Math.min(whole[1], test.stop + beside / 2)];
}
// A long recording is not looked at from its beginning: that may be hours ago.
let view = failed.length && whole[1] - whole[0] > 300 ? around(failed[0]) : whole;

const clock = (time, digits = 3) => new Date(time * 1000).toISOString().slice(11, 12 + (digits ? 8 + digits : 7));
const since = (time) => `+${(time - first).toFixed(time - first < 100 ? 2 : 0)} s`;
const mebibytes = (bytes) => `${(bytes / 1048576).toFixed(bytes < 10485760 ? 1 : 0)} MiB`;

// ---- what an event looks like
function sign(event) {
  if (event.action === "die") return event.exit_code === 0 ? ["■", ""] : ["✖", "bad"];
  if (event.action === "oom") return ["▲", "bad"];
  if (event.action === "kill") return ["⚡", "bad"];
  if (event.action.startsWith("health_status")) return /unhealthy/.test(event.action) ? ["♥", "bad"] : ["♥", "good"];
  const signs = { start: "▶", create: "○", restart: "↻", stop: "■", pause: "‖", unpause: "▷", destroy: "□" };
  return [signs[event.action] || "◆", ""];
}
function told(event) {
  let text = `${services[event.service].name}: ${event.action}`;
  if (event.exit_code !== undefined) text += `, exit code ${event.exit_code}`;
  if (event.signal) text += `, signal ${event.signal}`;
  return text;
}
