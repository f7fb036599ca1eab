/** The choice of model, and its card. */

import { openDialog } from "./dialogs.js";
import { byId, element } from "./element.js";
import { markdown } from "./markdown.js";
import { complain } from "./notices.js";
import { ask, askJson } from "./server.js";
import { state, tell } from "./state.js";
import { capital, sequence } from "./words.js";

/** Fetch what models there are, and let one be chosen. */
export async function startModels() {
  const select = byId("model");
  select.addEventListener("change", () => { state.model = select.value; });
  byId("about-model").addEventListener("click", about);
  await load();
}

async function load() {
  try {
    const { models } = await askJson("/v1/models");
    state.models = models;
    state.model = (models.find((model) => model.default) ?? models[0])?.name ?? "";
    const select = byId("model");
    select.replaceChildren(...models.map(({ name }) => new Option(name, name)));
    select.value = state.model;
    tell("models");
  } catch (problem) {
    complain(problem, { run: load, key: "models" });
  }
}

/** Of a model by its name; undefined where the server does not list it. */
export const modelNamed = (name) => state.models.find((model) => model.name === name);

async function about() {
  const model = modelNamed(state.model);
  if (!model) return;
  let card;
  try {
    card = await (await ask(`/v1/models/${encodeURIComponent(model.name)}/card`)).text();
  } catch (problem) {
    complain(problem, { run: about, key: "card" });
    return;
  }
  const facts = [
    ["Looks at", (model.channels ?? []).map(sequence).join(", ")],
    ["Outlines", (model.classes ?? []).map(capital).join(", ")],
    ["Licence", licenceOf(model)],
  ].filter(([, value]) => value);
  openDialog(`Model ${model.name}`, () => [
    model.description && element("p", { class: "lead" }, model.description),
    element("dl", { class: "facts" }, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    element("div", { class: "card", tabindex: 0 }, ...markdown(card)),
  ].filter(Boolean), { wide: true });
}

function licenceOf({ licence }) {
  return licence && typeof licence === "object" ? licence.name ?? licence.spdx ?? "" : licence ?? "";
}
