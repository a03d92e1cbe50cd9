"use strict";
// The map of the embedding: points on a canvas, with the sample under the pointer or chosen by the arrow keys.
(() => {
  const { samples, maps } = JSON.parse(document.getElementById("map-data").textContent);
  const root = document.getElementById("map");
  const canvas = root.querySelector("canvas");
  const tip = root.querySelector(".tip");
  const select = root.querySelector("select");
  const radios = [...root.querySelectorAll("input[type=radio]")];
  const groups = root.querySelector(".groups");
  const RANGE = 1000, MARGIN = 14, REACH = 14;
  const state = { map: maps[0], kind: "pca", spans: [RANGE, RANGE], chosen: null, lit: new Set() };

  const set = () => samples[state.map.samples];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;

  // Ten colours have names in the style sheet; of more groups the hues are a golden angle apart.
  function colour(group) {
    if (group === null) return style("--line");
    if (set().captions.length <= 10) return style(`--c${group}`);
    return `hsl(${(group * 137.5) % 360} ${45 + 20 * (group % 3)}% ${dark() ? 66 : 42}%)`;
  }

  // Both axes have one scale, and the map fills the canvas along one of them.
  function place(i) {
    const [xs, ys] = state.map[state.kind];
    const [across, up] = state.spans;
    const scale = Math.min((canvas.clientWidth - 2 * MARGIN) / across, (canvas.clientHeight - 2 * MARGIN) / up);
    return [
      canvas.clientWidth / 2 + scale * (xs[i] - RANGE / 2),
      canvas.clientHeight / 2 - scale * (ys[i] - RANGE / 2),
    ];
  }

  function chooseKind(kind) {
    state.kind = kind;
    state.spans = state.map[kind].map((values) => Math.max(...values) - Math.min(...values) || 1);
    choose(null);
  }

  function draw() {
    const ratio = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const { names, groups: group, captions } = set();
    const colours = captions.map((_, g) => colour(g));
    const radius = Math.max(1.8, Math.min(4, 90 / Math.sqrt(names.length)));
    for (let i = 0; i < names.length; i++) {
      const [x, y] = place(i);
      pen.globalAlpha = !state.lit.size || state.lit.has(group[i]) ? 0.8 : 0.08;
      pen.fillStyle = group[i] === null ? colour(null) : colours[group[i]];
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (state.chosen !== null) {
      const [x, y] = place(state.chosen);
      pen.strokeStyle = style("--ink");
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, radius + 4, 0, 2 * Math.PI);
      pen.stroke();
    }
    root.dataset.drawn = names.length;
  }

  function element(tag, properties) {
    return Object.assign(document.createElement(tag), properties);
  }

  // Names come from files and are only ever set as text.
  function choose(i) {
    state.chosen = i;
    tip.hidden = i === null;
    if (i !== null) {
      const { names, groups: group, captions, texts, sheet } = set();
      const told = element("div");
      const caption = group[i] === null ? "no label" : captions[group[i]];
      told.append(element("strong", { textContent: caption }), element("br"), names[i]);
      if (texts) told.append(element("div", { textContent: texts[i] }));
      const parts = [told];
      if (sheet) {
        const tile = element("span", { className: `tile ${sheet.name}` });
        tile.style.setProperty("--row", Math.floor(i / sheet.columns));
        tile.style.setProperty("--column", i % sheet.columns);
        parts.unshift(tile);
      }
      tip.replaceChildren(...parts);
      const [x, y] = place(i);
      const left = x + 12 + tip.offsetWidth > canvas.clientWidth ? x - 12 - tip.offsetWidth : x + 12;
      const top = Math.min(y + 12, canvas.clientHeight - tip.offsetHeight - 4);
      tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
    }
    draw();
  }

  function nearest(x, y, cost) {
    let best = null, least = Infinity;
    for (let i = 0; i < set().names.length; i++) {
      if (state.lit.size && !state.lit.has(set().groups[i])) continue;
      const [px, py] = place(i);
      const found = cost(px - x, py - y, i);
      if (found < least) [best, least] = [i, found];
    }
    return best;
  }

  function pointed(event) {
    const box = canvas.getBoundingClientRect();
    choose(nearest(event.clientX - box.left, event.clientY - box.top, (dx, dy) => {
      const far = Math.hypot(dx, dy);
      return far > REACH ? Infinity : far;
    }));
  }

  const middle = () => nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, Math.hypot);
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function pressed(event) {
    const arrow = ARROWS[event.key];
    if (event.key === "Escape") choose(null);
    if (!arrow) return;
    event.preventDefault();
    if (state.chosen === null) return choose(middle());
    const [x, y] = place(state.chosen);
    const next = nearest(x, y, (dx, dy, i) => {
      const along = dx * arrow[0] + dy * arrow[1];
      const across = Math.abs(dx * arrow[1]) + Math.abs(dy * arrow[0]);
      return i === state.chosen || along <= 0.01 || across > 2 * along ? Infinity : along + 2 * across;
    });
    if (next !== null) choose(next);
  }

  function listGroups() {
    state.lit.clear();
    const { captions, groups: group } = set();
    groups.replaceChildren(...captions.map((caption, g) => {
      const count = group.filter((each) => each === g).length;
      const button = element("button", { type: "button", textContent: `${caption} (${count})` });
      button.setAttribute("aria-pressed", "false");
      button.style.setProperty("--dot", colour(g));
      button.addEventListener("click", () => {
        state.lit.has(g) ? state.lit.delete(g) : state.lit.add(g);
        button.setAttribute("aria-pressed", String(state.lit.has(g)));
        choose(null);
      });
      return button;
    }));
  }

  function show(map) {
    state.map = map;
    for (const radio of radios) {
      radio.disabled = !(radio.value in map);
      if (radio.disabled && radio.checked) radios[0].checked = true;
    }
    const what = set().clusters ? "coloured by cluster" : "coloured by label";
    canvas.setAttribute("aria-label", `Map of ${set().names.length} samples, ${what}; the arrow keys go from point to point`);
    listGroups();
    chooseKind(radios.find((radio) => radio.checked).value);
  }

  maps.forEach((map, i) => select.append(element("option", { value: i, textContent: map.title })));
  select.parentElement.hidden = maps.length < 2;
  select.addEventListener("change", () => show(maps[select.value]));
  radios.forEach((radio) => radio.addEventListener("change", () => chooseKind(radio.value)));
  canvas.addEventListener("pointermove", pointed);
  canvas.addEventListener("pointerdown", pointed);
  canvas.addEventListener("pointerleave", () => { if (document.activeElement !== canvas) choose(null); });
  canvas.addEventListener("keydown", pressed);
  canvas.addEventListener("blur", () => choose(null));
  new ResizeObserver(() => choose(state.chosen)).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(state.map));
  const sne = radios.find((radio) => radio.value === "tsne");
  if (sne && "tsne" in maps[0]) sne.checked = true;
  show(maps[0]);
})();
