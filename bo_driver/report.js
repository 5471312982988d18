"use strict";
// Marks a trial everywhere when one of its marks is clicked, and keeps a live page up to date.
(() => {
  const root = document.documentElement;
  window.addEventListener("error", (event) => { root.dataset.error = event.message; });

  // --- picking a trial -------------------------------------------------------------------------
  const detail = document.getElementById("detail");
  let picked = location.hash.match(/^#trial-(\d+)$/)?.[1] ?? null;

  function describe(number) {
    for (const mark of document.querySelectorAll(`[data-trial="${number}"]`)) {
      const title = mark.dataset.title || mark.querySelector("title")?.textContent;
      if (title) return title;
    }
    return `trial ${number}`;
  }

  function mark() {
    for (const element of document.querySelectorAll("[data-trial]")) {
      element.classList.toggle("picked", element.dataset.trial === picked);
    }
    detail.hidden = picked === null;
    if (picked !== null) detail.textContent = describe(picked);
  }

  // The address names the trial, so that it can be handed on.
  function pick(number) {
    picked = number;
    const path = location.pathname + location.search;
    history.replaceState(null, "", picked === null ? path : `${path}#trial-${picked}`);
    mark();
  }

  document.addEventListener("click", (event) => {
    const number = event.target.closest("[data-trial]")?.dataset.trial ?? null;
    pick(number === picked ? null : number);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") pick(null);
  });
  mark();
  document.querySelector("tr.picked")?.scrollIntoView({ block: "center" });

  // --- keeping up to date -----------------------------------------------------------------------
  const freshness = document.getElementById("freshness");
  const period = Number(root.dataset.period || 0) * 1000;
  const shown = new Map();  // section -> hash of what it shows
  for (const section of document.querySelectorAll("section")) {
    shown.set(section.id, section.dataset.hash);
  }
  let updated = new Date();

  async function get(path) {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer;
  }

  async function replace(id, hash) {
    const section = document.getElementById(id);
    const scrolled = [...section.querySelectorAll(".scroll, .rows")].map((box) => box.scrollTop);
    section.innerHTML = await (await get(`section/${id}`)).text();
    section.hidden = section.innerHTML === "";
    [...section.querySelectorAll(".scroll, .rows")].forEach((box, i) => {
      box.scrollTop = scrolled[i] ?? 0;
    });
    shown.set(id, hash);
  }

  async function refresh() {
    const study = await (await get("api/study")).json();
    for (const [id, hash] of Object.entries(study.sections)) {
      if (shown.get(id) !== hash) await replace(id, hash);
    }
    const state = document.getElementById("state");
    state.textContent = study.phase;
    state.className = `state ${study.phase}`;
    document.title = study.title;
    updated = new Date();
    mark();
  }

  async function turn() {
    if (!document.hidden) {
      try {
        await refresh();
        freshness.className = "";
        freshness.textContent = `updated ${updated.toLocaleTimeString()}`;
        root.dataset.refreshes = Number(root.dataset.refreshes || 0) + 1;
      } catch (error) {
        const over = !document.getElementById("state").classList.contains("running");
        freshness.className = over ? "" : "stale";
        freshness.textContent = over ? "the study is over; report.html in its folder shows the same"
          : `no answer since ${updated.toLocaleTimeString()}: the scheduler has ended (${error.message})`;
      }
    }
    setTimeout(turn, period);
  }
  if (period > 0) {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) refresh().catch(() => {});
    });
    turn();
  }
  root.dataset.ready = "yes";
})();
