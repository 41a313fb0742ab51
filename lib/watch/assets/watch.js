// The page of `spa watch`: hears which runs there are and have changed, and shows curves and trajectories of those chosen.
// Everything that comes from runs is put in as text, or as markup that the server has escaped.
(() => {
  const byId = (id) => document.getElementById(id);
  const form = byId("query");
  const chosen = new Set();
  let runs = [];
  let stages = [];
  let board;
  let drawnVersion = "";

  /** An element with attributes and children; texts stay texts. */
  function element(name, attributes = {}, ...children) {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  }

  const address = (path, parameters) => `${path}?${new URLSearchParams(parameters)}`;

  async function fetchText(path, parameters, method = "GET") {
    const answer = await fetch(address(path, parameters), { method });
    if (answer.ok) return answer.text();
    const { error = answer.statusText } = await answer.json().catch(() => ({}));
    throw new Error(error);
  }

  const tell = (text) => {
    byId("status").textContent = text;
  };
  const guarded = (work) => Promise.resolve(work()).catch((error) => tell(error.message));

  const tagsOf = (name) => localStorage.getItem(`tags ${name}`) ?? "";

  const duration = (seconds) =>
    seconds < 60
      ? `${Math.round(seconds)}s`
      : seconds < 3600
        ? `${Math.floor(seconds / 60)}m${String(Math.round(seconds % 60)).padStart(2, "0")}s`
        : `${Math.floor(seconds / 3600)}h${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")}m`;

  function rowOf(run) {
    const pick = element("input", { type: "checkbox", checked: chosen.has(run.name) });
    pick.addEventListener("change", () => {
      if (pick.checked) chosen.add(run.name);
      else chosen.delete(run.name);
      guarded(showChosen);
    });
    const tags = element("input", { value: tagsOf(run.name), size: 10, ariaLabel: `Tags of ${run.name}` });
    tags.addEventListener("change", () => localStorage.setItem(`tags ${run.name}`, tags.value));
    const verb = run.state === "running" ? "stop" : "resume";
    const button = element("button", { type: "button" }, verb === "stop" ? "Stop" : "Go on");
    button.addEventListener("click", () =>
      guarded(async () => {
        await fetchText(verb, { run: run.name }, "POST");
        tell(
          verb === "stop"
            ? `${run.name} stops after the step under way, which is saved.`
            : `${run.name} goes on.`,
        );
      }),
    );
    const name = element("th", { scope: "row" }, element("label", {}, pick, ` ${run.name}`));
    const state = run.state === "running" ? `running: ${run.stage}` : run.state;
    const cells = [
      state,
      `${run.preset} (${run.environment})`,
      run.seed,
      duration(run.seconds),
      run.tokens.toLocaleString(),
    ];
    const control = element("td", {}, ...(run.state === "done" ? [] : [button]));
    return element(
      "tr",
      {},
      name,
      ...cells.map((text) => element("td", {}, String(text))),
      element("td", {}, tags),
      control,
    );
  }

  function showRuns() {
    const filter = byId("filter").value.trim().toLowerCase();
    const shown = runs.filter(({ name, preset, environment, state, stage }) =>
      [name, preset, environment, state, stage, tagsOf(name)].join(" ").toLowerCase().includes(filter),
    );
    // What is being typed stays.
    if (
      byId("run-rows").contains(document.activeElement) &&
      document.activeElement.matches("input:not([type])")
    )
      return;
    const focused = [...byId("run-rows").querySelectorAll("input, button")].indexOf(document.activeElement);
    byId("run-rows").replaceChildren(...shown.map(rowOf));
    byId("run-rows").querySelectorAll("input, button")[focused]?.focus();
    const running = runs.filter(({ state }) => state === "running").length;
    tell(`${runs.length} ${runs.length === 1 ? "run" : "runs"}, ${running} running`);
  }

  const names = () => runs.map(({ name }) => name).filter((name) => chosen.has(name));

  async function showChosen() {
    const version = JSON.stringify(
      runs.filter(({ name }) => chosen.has(name)).map(({ name, version }) => [name, version]),
    );
    if (version === drawnVersion) return;
    drawnVersion = version;
    const parameters = names().map((name) => ["run", name]);
    const place = byId("curves-of-runs");
    const markup = parameters.length === 0 ? "" : await fetchText("charts", parameters);
    const isOpen = [...place.querySelectorAll("details.more")].map(({ open }) => open);
    place.innerHTML = markup;
    for (const [index, fold] of place.querySelectorAll("details.more").entries())
      fold.open = isOpen[index] ?? false;
    if (board) board.connect();
    else board = spaCharts.board(place);
    byId("setting-table").innerHTML = await fetchText("settings", parameters);
  }

  function fillOptions(select, options) {
    const { value } = select;
    select.replaceChildren(...options.map(([key, text]) => element("option", { value: key }, text)));
    if (options.some(([key]) => String(key) === value)) select.value = value;
  }

  async function showStages() {
    fillOptions(
      form.run,
      runs.map(({ name }) => [name, name]),
    );
    if (form.run.value === "") return;
    stages = JSON.parse(await fetchText("stages", { run: form.run.value }));
    fillOptions(
      form.stage,
      stages.map(({ stage, title }) => [stage, title]),
    );
    await showFound();
  }

  async function showFound() {
    const stage = stages.find((other) => other.stage === form.stage.value);
    if (!stage) return byId("found").replaceChildren();
    const { steps, distances } = stage;
    form.step.max = steps.length - 1;
    const step = steps[Math.min(form.step.value, steps.length - 1)];
    form["shown-step"].value = step;
    fillOptions(form.distance, [["", "any"], ...distances.map((distance) => [distance, distance])]);
    const fields = Object.fromEntries(
      ["success", "distance", "reason", "text"].map((name) => [name, form[name].value]),
    );
    const found = JSON.parse(
      await fetchText("trajectories", { run: form.run.value, stage: stage.stage, step, ...fields }),
    );
    const items = found.map((entry) => {
      const { seed, success, totalReward, turns, distance, line } = entry;
      const about = `level ${seed}${distance === null ? "" : `, ${distance} away`}, reward ${totalReward}, ${turns} turns`;
      const button = element("button", { type: "button" }, `${success ? "✓" : "✗"} ${about}`);
      button.addEventListener("click", () => guarded(() => showTrajectory(stage.stage, line.number, seed)));
      return element("li", {}, button);
    });
    byId("found").replaceChildren(...(items.length > 0 ? items : [element("li", {}, "None.")]));
  }

  async function showTrajectory(stage, line, seed) {
    const place = byId("trajectory");
    place.innerHTML = await fetchText("trajectory", { run: form.run.value, stage, line });
    for (const fold of place.querySelectorAll("details.trajectory")) fold.open = true;
    connectReplays(place);
    byId("level").replaceChildren();
    Object.assign(byId("compare"), { hidden: false, onclick: () => guarded(() => showLevel(seed)) });
  }

  async function showLevel(seed) {
    byId("level").innerHTML = await fetchText("level", { run: form.run.value, seed });
    connectReplays(byId("level"));
  }

  /** One board at a time; buttons and arrow keys go back and on. */
  function connectReplays(place) {
    for (const replay of place.querySelectorAll(".replay")) {
      const frames = [...replay.querySelectorAll(".frame")];
      let at = 0;
      const go = (by) => {
        at = Math.min(frames.length - 1, Math.max(0, at + by));
        for (const [index, frame] of frames.entries()) frame.hidden = index !== at;
      };
      go(0);
      replay.addEventListener("click", ({ target }) => go(Number(target.dataset.move ?? 0)));
      replay.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        go(by);
      });
    }
  }

  byId("filter").addEventListener("input", showRuns);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => guarded(target === form.run ? showStages : showFound));

  const events = new EventSource("events");
  events.addEventListener("message", ({ data }) => {
    const isFirst = runs.length === 0;
    runs = JSON.parse(data);
    if (isFirst && runs.length > 0) chosen.add(runs[0].name);
    showRuns();
    guarded(showChosen);
    guarded(showStages);
  });
  events.addEventListener("error", () => tell("The server has gone; this page listens for its return."));
})();
