(() => {
  "use strict";
  const { page, items } = JSON.parse(document.getElementById("data").textContent);
  const get = (id) => document.getElementById(id);
  const STORE = "human-eval-" + page;
  // Only answers of this page's items count, whatever a stored state says.
  const known = new Set(items.map((item) => item.item));
  let state = { rater: "", answers: {} };
  let at = 0;
  let view = "start";

  function problem(text) {
    get("problem").textContent = text;
    get("problem").hidden = !text;
  }

  function load() {
    try {
      const stored = JSON.parse(localStorage.getItem(STORE));
      if (stored && typeof stored.rater === "string" && stored.answers) {
        state.rater = stored.rater;
        for (const [item, answer] of Object.entries(stored.answers)) if (known.has(item)) state.answers[item] = answer;
      }
    } catch {
      problem("This browser keeps nothing for this page. Download your answers before you close it.");
    }
  }

  function save() {
    try {
      localStorage.setItem(STORE, JSON.stringify(state));
    } catch {
      problem("This browser keeps nothing for this page. Download your answers before you close it.");
    }
  }

  const isOpen = (item) => !state.answers[item.item];
  const nDone = () => items.filter((item) => !isOpen(item)).length;

  // The next item without an answer after `from`, then from the beginning; items.length where none is left.
  function nextOpen(from) {
    const order = items.map((_, index) => (from + 1 + index) % items.length);
    const found = order.find((index) => isOpen(items[index]));
    return found === undefined ? items.length : found;
  }

  function show(name) {
    view = name;
    for (const section of ["start", "rate", "end"]) get(section).hidden = section !== name;
    if (name === "rate") showItem();
    if (name === "end") showEnd();
  }

  function marked(button, isChosen) {
    button.classList.toggle("chosen", isChosen);
    button.setAttribute("aria-pressed", isChosen);
  }

  function showItem() {
    const item = items[at];
    const choice = state.answers[item.item]?.choice;
    for (const name of ["tweet", "reply_a", "reply_b"]) get(name).textContent = item[name];
    get("count").textContent = `${at + 1} of ${items.length}`;
    get("who").textContent = `${nDone()} answered`;
    get("done").style.width = `${(100 * nDone()) / items.length}%`;
    for (const side of ["A", "B"]) get("side-" + side).classList.toggle("chosen", choice === side);
    for (const button of document.querySelectorAll("[data-choice]")) marked(button, button.dataset.choice === choice);
    get("back").disabled = at === 0;
    get("skip").disabled = at === items.length - 1;
    window.scrollTo(0, 0);
  }

  function showEnd() {
    const left = items.length - nDone();
    get("thanks").textContent = left ? `${nDone()} of ${items.length} answered` : "Thank you. That was all.";
    get("left").textContent = left ? `${left} left. A part counts too: download it now, or go on later.` : `${items.length} answers, as “${state.rater}”.`;
    get("on").hidden = !left;
    get("csv").disabled = get("json").disabled = !nDone();
  }

  function goTo(index) {
    if (index >= items.length) return show("end");
    at = index;
    show("rate");
  }

  function choose(choice) {
    const item = items[at];
    const isNew = isOpen(item);
    state.answers[item.item] = { choice, at: new Date().toISOString() };
    save();
    goTo(isNew || !items.some(isOpen) ? nextOpen(at) : Math.min(at + 1, items.length - 1));
  }

  function begin() {
    const rater = get("rater").value.replace(/[^\p{L}\p{N} ._-]/gu, "").trim().replace(/^-+/, "");
    if (!rater) return problem("Please give a name: letters and digits.");
    problem("");
    state.rater = rater;
    get("rater").blur(); // a hidden field keeps the focus for a moment, and would swallow the first key
    save();
    goTo(nextOpen(-1));
  }

  const rows = () => items.filter((item) => !isOpen(item)).map((item) => ({ rater: state.rater, item: item.item, ...state.answers[item.item] }));

  function download(kind, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: kind === "csv" ? "text/csv" : "application/json" }));
    link.download = `answers-${page}-${state.rater.replace(/[^A-Za-z0-9]+/g, "-")}.${kind}`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const csv = () => "rater,item,choice,at\n" + rows().map((row) => [row.rater, row.item, row.choice, row.at].map(quoted).join(",") + "\n").join("");
  const json = () => "[\n" + rows().map((row) => JSON.stringify(row)).join(",\n") + "\n]\n";

  function forget() {
    if (!confirm("Delete your answers from this browser? What you have downloaded stays.")) return;
    state = { rater: "", answers: {} };
    try {
      localStorage.removeItem(STORE);
    } catch {
      // Nothing was kept: there is nothing to delete.
    }
    at = 0;
    show("start");
  }

  const click = (id, act) => get(id).addEventListener("click", act);
  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(button.dataset.choice));
  click("begin", begin);
  click("back", () => goTo(Math.max(0, at - 1)));
  click("skip", () => goTo(Math.min(items.length - 1, at + 1)));
  click("pause", () => show("end"));
  click("on", () => goTo(nextOpen(at - 1)));
  click("csv", () => download("csv", csv()));
  click("json", () => download("json", json()));
  click("clear", forget);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target === get("rater")) {
      if (event.key === "Enter") begin();
      return;
    }
    if (view !== "rate") return;
    const button = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (button) choose(button.dataset.choice);
    else if (event.key === "ArrowLeft") get("back").click();
    else if (event.key === "ArrowRight") get("skip").click();
    else return;
    event.preventDefault();
  });

  load();
  get("rater").value = state.rater || "rater-" + Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (state.rater) goTo(nextOpen(-1));
  else show("start");
})();
