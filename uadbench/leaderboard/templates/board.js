"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  // Colours of Okabe and Ito 2008, distinguishable with any kind of colour vision; further models get dashed lines
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d"];
  const DASHES = ["", "6 3", "2 2", "8 3 2 3"];
  const NA = "n/a";

  function el(name, attributes = {}, ...children) {
    const svg = ["svg", "line", "circle", "path", "text", "g", "rect", "title"].includes(name);
    const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat()) if (child !== null) node.append(child); // a string becomes text, never markup
    return node;
  }
  const number = (value, digits = 3) => (value === null || value === undefined ? NA : Math.abs(value) < 1000 ? value.toPrecision(digits) : value.toFixed(0));
  const fixed = (value) => (value === null || value === undefined ? NA : value.toFixed(3));
  const percent = (value) => `${Number((100 * value).toPrecision(3))} %`;
  const patients = (row) => { // by diagnosis, if there are several
    const groups = Object.entries(row.patientGroups);
    return groups.length > 1 ? groups.map(([name, value]) => `${name} ${number(value)}`).join(", ") : number(row.patients);
  };
  const size = (value) => value === null ? NA : value >= 1e6 ? `${number(value / 1e6)} M` : value >= 1e3 ? `${number(value / 1e3)} k` : `${value}`;
  const style = (index) => ({ colour: COLOURS[index % COLOURS.length], dash: DASHES[Math.floor(index / COLOURS.length) % DASHES.length] });

  function intervalBar(estimate, board) {
    const [mean, low, high] = estimate;
    const x = (value) => 3 + 144 * Math.max(0, Math.min(1, value));
    const label = `${fixed(mean)}, 95 % interval ${fixed(low)} to ${fixed(high)}, chance ${fixed(board.chance)}`;
    return el("svg", { class: "bar", viewBox: "0 0 150 18", role: "img", "aria-label": label },
      el("title", {}, label),
      el("line", { class: "axis", x1: 3, x2: 147, y1: 9, y2: 9 }),
      board.chance === null ? null : el("line", { class: "chance", x1: x(board.chance), x2: x(board.chance), y1: 2, y2: 16 }),
      low === null ? null : el("line", { class: "whisker", x1: x(low), x2: x(high), y1: 9, y2: 9 }),
      mean === null ? null : el("circle", { cx: x(mean), cy: 9, r: 3.5 }));
  }

  // text and sort key of each column; headings, help and direction come with the data of the page
  const COLUMNS = [
    { key: "name", heading: "model", name: true, text: (row) => row.name, sort: (row) => row.name.toLowerCase(), up: true },
    { key: "rank", text: (row) => (row.rank === null ? "none" : row.rank[0] === row.rank[1] ? `${row.rank[0]}` : `${row.rank[0]}–${row.rank[1]}`), sort: (row) => (row.rank === null ? null : row.rank[0] + row.rank[1] / 1000) },
    { key: "ap", main: true, text: (row) => fixed(row.ap[0]), sort: (row) => row.ap[0] },
    { key: "bar", title: "95 %\n0 to 1", bar: true, sort: (row) => row.ap[0] },
    { key: "dementias", text: (row) => fixed(row.dementias[0]), sort: (row) => row.dementias[0] },
    { key: "unseen", text: (row) => fixed(row.unseen[0]), sort: (row) => row.unseen[0] },
    { key: "native", text: (row) => fixed(row.native[0]), sort: (row) => row.native[0] },
    { key: "matched", text: (row) => number(row.matched), sort: (row) => row.matched },
    { key: "recovered", text: (row) => number(row.recovered), sort: (row) => row.recovered },
    { key: "damage", text: (row) => number(row.damage), sort: (row) => row.damage },
    { key: "healthiness", text: (row) => number(row.healthiness), sort: (row) => (row.healthiness === null ? null : Math.abs(row.healthiness - 1)), up: true },
    { key: "identified", text: (row) => number(row.identified), sort: (row) => row.identified },
    { key: "auroc", text: (row) => number(row.auroc), sort: (row) => row.auroc },
    { key: "patients", text: (row) => patients(row), sort: (row) => row.patients },
    { key: "parameters", text: (row) => size(row.parameters), sort: (row) => row.parameters },
    { key: "cpuMinutes", text: (row) => number(row.cpuMinutes), sort: (row) => row.cpuMinutes },
    { key: "inference", text: (row) => number(row.inference), sort: (row) => row.inference },
    { key: "device", heading: "device", text: (row) => row.device, sort: (row) => row.device, up: true },
    { key: "trainings", text: (row) => `${row.seeds} x ${row.folds}`, sort: (row) => row.seeds * row.folds },
  ].map((column) => ({ ...column, ...(data.columns || {})[column.key] }))
    .map((column) => ({ title: twoLines(column.heading || ""), up: column.better === "lower", ...column }));

  // puts the first word above the others; a single word goes on the lower line
  function twoLines(heading) {
    return heading.includes(" ") ? heading.replace(" ", "\n") : `\n${heading}`;
  }

  function heatMap(row, board) {
    const head = el("tr", {}, el("th", { scope: "col" }, "AP, standard map"), board.severities.map((s) => el("th", { scope: "col" }, percent(s))),
      el("th", { scope: "col", title: "effective reduction in the truth, as a share of the severity" }, "effective"));
    const body = board.testsets.map((name) => el("tr", {}, el("th", { scope: "row" }, name),
      (row.curves[name] || []).map(([mean, low, high]) => el("td", {
        style: `background: rgba(var(--hot), ${mean === null ? 0 : (0.75 * mean).toFixed(3)})`,
        title: mean === null ? NA : `${fixed(mean)} [${fixed(low)}, ${fixed(high)}]`,
      }, mean === null ? NA : mean.toFixed(2))), el("td", {}, board.effective[name] === null ? NA : percent(board.effective[name]))));
    return el("div", { class: "scroll" }, el("table", { class: "heat" }, el("thead", {}, head), el("tbody", {}, body)));
  }

  let draw = drawBoard;
  const state = { board: 0, sort: "ap", down: true, filter: "", baselines: true, testset: "dementias", open: new Set() };

  function visible(board) {
    const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = board.rows.filter((row) => (state.baselines || !row.baseline)
      && words.every((word) => `${row.name} ${row.device} ${row.reproduced ? "reproduced" : "self-reported"} ${row.overBudget ? "over budget" : ""} ${row.failures}`.toLowerCase().includes(word)));
    const column = COLUMNS.find((each) => each.key === state.sort);
    return rows.map((row, place) => [column.sort(row), place, row]).sort(([a, i], [b, j]) => {
      const none = (v) => v === null || v === undefined;
      if (none(a) || none(b)) return none(a) - none(b) || i - j; // n/a comes last in either direction
      return (a < b ? -1 : a > b ? 1 : 0) * (state.down ? -1 : 1) || i - j;
    }).map(([, , row]) => row);
  }

  function drawTable(board) {
    const head = el("tr", {}, COLUMNS.map((column) => el("th", {
      scope: "col", class: column.name ? "name" : null,
      "aria-sort": state.sort === column.key ? (state.down ? "descending" : "ascending") : null,
    }, el("button", {
      type: "button", title: column.help, "data-sort": column.key,
      onclick: () => {
        if (state.sort === column.key) state.down = !state.down;
        else [state.sort, state.down] = [column.key, !column.up];
        draw(`[data-sort="${column.key}"]`);
      },
    }, column.title))));
    const body = visible(board).flatMap((row) => {
      const toggle = () => {
        if (getSelection().toString()) return; // the user is selecting text to copy
        if (!state.open.delete(row.name)) state.open.add(row.name);
        draw(`[data-row="${CSS.escape(row.name)}"]`);
      };
      const cells = COLUMNS.map((column) => {
        if (column.bar) return el("td", {}, intervalBar(row.ap, board));
        if (!column.name) return el("td", { class: column.main ? "main" : null }, column.text(row));
        return el("td", { class: "name" }, el("b", { title: row.name }, row.name), row.baseline ? el("span", { class: "tag" }, "baseline") : null,
          el("span", { class: row.reproduced ? "tag reproduced" : "tag" }, row.reproduced ? "reproduced" : "self-reported"),
          row.overBudget ? el("span", { class: "tag" }, "over budget") : null,
          row.failures ? el("span", { class: "tag failed" }, row.failures) : null);
      });
      const line = el("tr", {
        class: "row", tabindex: 0, "data-row": row.name, "aria-expanded": state.open.has(row.name) ? "true" : "false", onclick: toggle,
        onkeydown: (event) => {
          if (event.target !== event.currentTarget) return;
          const all = [...document.querySelectorAll("tr.row")];
          const here = all.indexOf(event.currentTarget);
          if (event.key === "Enter" || event.key === " ") toggle();
          else if (event.key === "ArrowDown") (all[here + 1] || all[here]).focus();
          else if (event.key === "ArrowUp") (all[here - 1] || all[here]).focus();
          else return;
          event.preventDefault();
        },
      }, cells);
      if (!state.open.has(row.name)) return [line];
      return [line, el("tr", { class: "detail" }, el("td", { colspan: COLUMNS.length },
        heatMap(row, board), row.page ? el("p", { class: "note" }, el("a", { href: row.page }, `${row.name}: details, configuration, hashes, and the command that reproduces the result`)) : null))];
    });
    return el("div", { class: "scroll" }, el("table", { id: "board" }, el("thead", {}, head), el("tbody", {}, body)));
  }

  const W = 460, H = 270, LEFT = 54, BOTTOM = 34, TOP = 8, RIGHT = 10;
  function axes(xTicks, yTicks, x, y, xLabel, yLabel) {
    return [
      yTicks.map((tick) => [el("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(tick), y2: y(tick) }), el("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, `${tick}`)]),
      xTicks.map(([tick, label]) => el("text", { x: x(tick), y: H - BOTTOM + 15, "text-anchor": "middle" }, label)),
      el("text", { x: (LEFT + W - RIGHT) / 2, y: H - 3, "text-anchor": "middle" }, xLabel),
      el("text", { x: 11, y: (TOP + H - BOTTOM) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(TOP + H - BOTTOM) / 2})` }, yLabel),
    ].flat(2);
  }

  function curve(row, board) {
    const names = state.testset === "dementias" ? board.testsets.filter((name) => name !== "unseen") : [state.testset];
    return board.severities.map((_, place) => [0, 1, 2].map((part) => {
      const values = names.map((name) => (row.curves[name] || [])[place]).map((point) => (point ? point[part] : null));
      return values.some((value) => value === null) ? null : values.reduce((a, b) => a + b, 0) / values.length;
    }));
  }

  const SHOWN = 12;
  const styles = new Map(); // a model keeps its colour while it is plotted, however the table is sorted and filtered
  function styled(rows) {
    for (const row of rows) {
      if (styles.has(row.name)) continue;
      const taken = new Set(rows.map((each) => styles.get(each.name)));
      const free = [...Array(rows.length).keys()].find((index) => !taken.has(index));
      for (const [name, index] of styles) if (index === free) styles.delete(name);
      styles.set(row.name, free);
    }
  }
  function legend(rows, figure) {
    return el("div", { class: "legend" }, rows.map((row) => {
      const { colour, dash } = style(styles.get(row.name) ?? 0);
      const mark = (on) => figure.querySelectorAll("[data-model]").forEach((node) => node.classList.toggle("dim", on && node.dataset.model !== row.name));
      return el("button", { type: "button", onmouseenter: () => mark(true), onmouseleave: () => mark(false), onfocus: () => mark(true), onblur: () => mark(false) },
        el("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, el("line", { x1: 0, x2: 22, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.4, "stroke-dasharray": dash })), row.name);
    }));
  }

  function effectiveNote(board) {
    const names = state.testset === "dementias" ? board.testsets.filter((name) => name !== "unseen") : [state.testset];
    const shares = names.map((name) => board.effective[name]);
    return shares.some((each) => each === null) ? "" : ` (effective: ${percent(shares.reduce((a, b) => a + b, 0) / shares.length)} of it)`;
  }

  function severityPlot(board, rows) {
    const top = Math.max(...board.severities);
    const x = (s) => LEFT + (W - LEFT - RIGHT) * (s / top), y = (v) => H - BOTTOM - (H - BOTTOM - TOP) * v;
    const figure = el("figure", { id: "severity" });
    const chosen = el("select", { "aria-label": "test set", onchange: (event) => { state.testset = event.target.value; draw("#severity select"); } },
      ["dementias", ...board.testsets].map((name) => el("option", { value: name, selected: name === state.testset }, name)));
    const lines = rows.map((row) => {
      const { colour, dash } = style(styles.get(row.name) ?? 0);
      const points = curve(row, board).map((point, place) => [board.severities[place], ...point]).filter((point) => point[1] !== null);
      const path = points.map(([s, mean], place) => `${place ? "L" : "M"}${x(s).toFixed(1)} ${y(mean).toFixed(1)}`).join("");
      const known = points.filter((point) => point[2] !== null && point[3] !== null);
      const band = known.map(([s, , low]) => `${x(s).toFixed(1)} ${y(low).toFixed(1)}`).concat(known.slice().reverse().map(([s, , , high]) => `${x(s).toFixed(1)} ${y(high).toFixed(1)}`));
      return el("g", { "data-model": row.name }, el("title", {}, row.name),
        band.length ? el("path", { class: "band", d: `M${band.join("L")}Z`, fill: colour }) : null,
        path ? el("path", { class: "line", d: path, stroke: colour, "stroke-dasharray": dash }) : null);
    });
    figure.append(el("figcaption", {}, "Average precision against severity, ", chosen),
      el("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "average precision against severity, one line per model" },
        axes(board.severities.filter((s) => s === 0.05 || s >= 0.1).map((s) => [s, `${Math.round(100 * s)}`]), [0, 0.25, 0.5, 0.75, 1], x, y, `severity, %${effectiveNote(board)}`, "average precision"), lines),
      legend(rows, figure));
    return figure;
  }

  // healthy validation error of every training run by epoch, on a logarithmic axis
  function trainingPlot(curves) {
    const figure = el("figure", {}, el("figcaption", {}, "Healthy validation error by epoch"));
    const known = curves.flatMap((curve) => curve.errors).filter((error) => error !== null && error > 0).map(Math.log10);
    const epochs = Math.max(...curves.map((curve) => curve.errors.length));
    const low = Math.min(...known), high = Math.max(...known, low + 1e-3);
    const x = (epoch) => LEFT + ((W - LEFT - RIGHT) * epoch) / Math.max(1, epochs), y = (v) => TOP + ((H - BOTTOM - TOP) * (high - v)) / (high - low);
    const ticks = [low, (low + high) / 2, high];
    const lines = curves.map(({ seed, fold, errors }, index) => {
      const { colour, dash } = style(index);
      const points = errors.map((error, epoch) => [epoch + 1, error]).filter(([, error]) => error !== null && error > 0);
      const path = points.map(([epoch, error], place) => `${place ? "L" : "M"}${x(epoch).toFixed(1)} ${y(Math.log10(error)).toFixed(1)}`).join("");
      return el("path", { class: "line", d: path, stroke: colour, "stroke-dasharray": dash }, el("title", {}, `fold ${fold}, seed ${seed}`));
    });
    figure.append(el("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "healthy validation error by epoch" },
      ticks.map((tick) => [el("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(tick), y2: y(tick) }), el("text", { x: LEFT - 4, y: y(tick) + 4, "text-anchor": "end" }, (10 ** tick).toExponential(1))]).flat(),
      [0, Math.round(epochs / 2), epochs].map((epoch) => el("text", { x: x(epoch), y: H - BOTTOM + 15, "text-anchor": "middle" }, `${epoch}`)),
      el("text", { x: (LEFT + W - RIGHT) / 2, y: H - 3, "text-anchor": "middle" }, "epoch"), lines));
    return figure;
  }

  function paretoPlot(board, rows) {
    const known = rows.filter((row) => row.inference !== null && row.ap[0] !== null);
    const figure = el("figure", { id: "pareto" }, el("figcaption", {}, "Localisation against inference time"));
    if (!known.length) return figure;
    const logs = known.map((row) => Math.log10(Math.max(row.inference, 1e-3)));
    const first = Math.floor(Math.min(...logs)), last = Math.max(Math.ceil(Math.max(...logs)), first + 1);
    const x = (ms) => LEFT + 8 + ((W - LEFT - RIGHT - 16) * (Math.log10(Math.max(ms, 1e-3)) - first)) / (last - first);
    const y = (v) => H - BOTTOM - (H - BOTTOM - TOP) * v;
    const best = known.filter((row) => !known.some((other) => other.ap[0] > row.ap[0] && other.inference <= row.inference))
      .sort((a, b) => a.inference - b.inference);
    const front = best.map((row, place) => `${place ? `H${x(row.inference).toFixed(1)}V${y(row.ap[0]).toFixed(1)}` : `M${x(row.inference).toFixed(1)} ${y(row.ap[0]).toFixed(1)}`}`).join("");
    const colour = (row) => style(styles.get(row.name) ?? 0).colour;
    const ticks = Array.from({ length: last - first + 1 }, (_, place) => 10 ** (first + place));
    const points = known.map((row) => el("g", { "data-model": row.name },
      el("title", {}, `${row.name}: ${fixed(row.ap[0])}, ${number(row.inference)} ms per scan (${row.device})`),
      row.ap[1] === null ? null : el("line", { x1: x(row.inference), x2: x(row.inference), y1: y(row.ap[1]), y2: y(row.ap[2]), stroke: colour(row) }),
      row.baseline ? el("rect", { x: x(row.inference) - 4, y: y(row.ap[0]) - 4, width: 8, height: 8, fill: colour(row) }) : el("circle", { cx: x(row.inference), cy: y(row.ap[0]), r: 4.5, fill: colour(row) })));
    figure.append(el("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "ranking average precision against milliseconds per scan" },
      axes(ticks.map((tick) => [tick, `${Number(tick.toPrecision(1))}`]), [0, 0.25, 0.5, 0.75, 1], x, y, "ms per scan", "ranking AP"),
      el("path", { d: front, fill: "none", stroke: "var(--chance)", "stroke-dasharray": "3 3" }), points), legend(known, figure),
      el("p", { class: "note" }, "Squares: baselines. Dashed line: Pareto front; no model is both better and faster than a model on it."));
    return figure;
  }

  function stability(board) {
    if (!board.stability.length) return "";
    const head = ["scored instead", "Kendall's tau", "first"].map((text) => el("th", { scope: "col" }, text));
    const body = board.stability.map((each) => el("tr", {}, el("th", { scope: "row" }, each.name), el("td", {}, each.tau.toFixed(2)), el("td", {}, each.first)));
    return el("section", { id: "stability" }, el("h2", {}, "Stability of the order"), el("p", { class: "note" }, data.stability),
      el("div", { class: "scroll" }, el("table", { class: "heat" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body))));
  }

  function drawBoard(focus) {
    const board = data.boards[state.board];
    const place = document.getElementById("content");
    const scrolled = place.querySelector(".scroll")?.scrollLeft || 0;
    const rows = visible(board);
    const drawn = rows.slice(0, SHOWN);
    styled(drawn);
    place.replaceChildren(
      board.apart ? el("p", { class: "note apart" }, `Not comparable with newer results: ${board.apart}`) : "",
      el("p", { class: "note" }, board.about), drawTable(board),
      el("p", { class: "note" }, `${rows.length} of ${board.rows.length} models. Click a row or press Enter to open it; move between rows with the arrow keys; press / to filter.`),
      el("div", { class: "plots" }, severityPlot(board, drawn), paretoPlot(board, drawn)),
      rows.length > SHOWN ? el("p", { class: "note" }, `The plots show the first ${SHOWN} models of the table.`) : "", stability(board));
    place.querySelector(".scroll").scrollLeft = scrolled;
    if (focus) place.querySelector(focus)?.focus();
  }

  function tabs() {
    const list = document.getElementById("tabs");
    const choose = (index, focus) => {
      state.board = index;
      state.open.clear();
      styles.clear();
      if (!data.boards[index].testsets.includes(state.testset)) state.testset = "dementias";
      [...list.children].forEach((tab, place) => { tab.setAttribute("aria-selected", place === index ? "true" : "false"); tab.tabIndex = place === index ? 0 : -1; });
      if (focus) list.children[index].focus();
      draw();
    };
    data.boards.forEach((board, index) => list.append(el("button", {
      type: "button", role: "tab", id: `tab-${index}`, "aria-controls": "content", onclick: () => choose(index),
      onkeydown: (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) choose((index + step + data.boards.length) % data.boards.length, true);
      },
    }, board.title)));
    if (data.boards.length) choose(0);
  }

  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  if (data.model) {
    const board = data.boards[0];
    document.getElementById("heat").append(heatMap(board.rows[0], board));
    draw = (focus) => {
      const place = document.getElementById("plots");
      place.replaceChildren(severityPlot(board, board.rows), data.training.length ? trainingPlot(data.training) : "");
      if (focus) place.querySelector(focus)?.focus();
    };
    draw();
    return;
  }
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => { state.filter = filter.value; draw(); });
  document.getElementById("baselines").addEventListener("change", (event) => { state.baselines = event.target.checked; draw(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && document.activeElement !== filter) { event.preventDefault(); filter.focus(); }
    else if (event.key === "Escape" && document.activeElement === filter) { filter.value = state.filter = ""; draw(); }
  });
  // after "back", browsers restore the controls once the page has been drawn
  const again = () => { state.filter = filter.value; state.baselines = document.getElementById("baselines").checked; draw(); };
  tabs();
  addEventListener("pageshow", () => { if (data.boards.length && (filter.value !== state.filter || document.getElementById("baselines").checked !== state.baselines)) again(); });
})();
