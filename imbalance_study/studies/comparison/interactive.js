"use strict";
// Draws the data of the page: table, curves, confusion matrices and images. All texts are set as
// text, never as HTML.
(() => {
  const COLORS = ["#000000", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"];
  const DASHES = ["", "7 4", "2 3"];
  const SVG = "http://www.w3.org/2000/svg";

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const draw = (tag, attributes = {}, text = "") => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  };
  const number = (value, digits = 4) =>
    value === null || value === undefined ? "" :
      Number.isInteger(value) ? value.toLocaleString("en") :
        Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") :
          Math.abs(value) >= 10 ? value.toFixed(1) :
            Math.abs(value) > 0 && Math.abs(value) < 0.001 ? value.toPrecision(2) : value.toFixed(digits);
  const signed = (value) => (value > 0 ? "+" : "") + number(value);
  const between = (ends) =>
    ends && ends[0] !== null ? `${number(ends[0], 3)} to ${number(ends[1], 3)}` : "";
  const spread = (mean, sd) => number(mean) + (mean !== null && sd !== null && sd !== undefined ?
    ` ± ${sd === 0 ? 0 : Number(sd.toPrecision(2))}` : "");

  // The baseline is black; the others take colours, then dashes.
  const looks = (answer) => {
    const names = answer.configurations.map((one) => one.name)
      .filter((name) => name !== answer.baseline).sort();
    const found = { [answer.baseline]: { color: COLORS[0], dash: "" } };
    names.forEach((name, index) => {
      found[name] = {
        color: COLORS[1 + (index % 6)], dash: DASHES[Math.floor(index / 6) % DASHES.length],
      };
    });
    return found;
  };

  const COSTS = {
    train_seconds: "training, s", peak_memory_mb: "memory, MB", train_kwh: "kWh",
    train_price: "price", latency_ms_b1: "latency, ms", macs: "MACs", parameters: "parameters",
  };
  const AT_INFERENCE = ["latency_ms_b1", "macs", "parameters"];

  const columnsOf = (answer) => {
    const metric = (name) => ({
      head: name.replace(/^.*\//, "").replaceAll("_", " "),
      value: (one) => one.metrics[name] && one.metrics[name].mean,
      cell: (one) => one.metrics[name] ? spread(one.metrics[name].mean, one.metrics[name].sd) : "",
    });
    const cost = (name) => ({
      head: COSTS[name],
      value: (one) => one.costs[name],
      cell: (one) => spread(one.costs[name] ?? null, one.costs[`${name}_sd`]),
      seed: (run) => name === "train_seconds" ? number(run.seconds) : "",
    });
    const some = (name) => answer.configurations.some((one) => (one.costs[name] ?? null) !== null);
    const costs = Object.keys(COSTS).filter((name) =>
      some(name) && !(answer.same_network && AT_INFERENCE.includes(name)));
    const others = Object.keys(answer.configurations[0].metrics)
      .filter((name) => name !== answer.metric);
    return [
      { head: "configuration", value: (one) => one.name, cell: (one) => one.name },
      {
        ...metric(answer.metric), value: (one) => one.mean, cell: (one) => spread(one.mean, one.sd),
        seed: (run) => number(run.value),
      },
      {
        head: "to baseline", value: (one) => one.difference,
        cell: (one) => one.difference === null ? "" : signed(one.difference),
      },
      {
        head: "p (Holm)", value: (one) => one.p_holm,
        cell: (one) => one.p_holm === null ? "" : one.p_holm < 0.001 ?
          one.p_holm.toExponential(1) : one.p_holm.toPrecision(2),
      },
      { head: "verdict", words: true, value: (one) => one.verdict, cell: verdictOf },
      {
        head: "difference, 95 %", value: (one) => one.difference_interval_95 && one.difference_interval_95[0],
        cell: (one) => between(one.difference_interval_95),
      },
      { head: "mean, 95 %", value: (one) => one.interval_95[0], cell: (one) => between(one.interval_95) },
      ...costs.map(cost), ...others.map(metric),
    ];
  };
  const verdictOf = (one) => {
    const power = one.verdict === "no difference shown" && one.shown_from ?
      ` (80 % power from ${number(one.shown_from)})` : "";
    return [one.verdict + power, ...one.notes].join("; ") + (one.best ? " · highest mean" : "");
  };

  const table = (answer) => {
    const columns = columnsOf(answer), state = { by: null, down: true, open: new Set() };
    const head = make("tr"), body = make("tbody");
    const sorted = () => {
      if (state.by === null) return answer.configurations;
      const value = columns[state.by].value, way = state.down ? -1 : 1;
      return [...answer.configurations].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        return way * (typeof x === "string" ? x.localeCompare(y) : x - y);
      });
    };
    const fill = () => {
      body.replaceChildren();
      for (const one of sorted()) {
        const open = state.open.has(one.name);
        const row = make("tr", { class: one.rankable ? one.verdict : "" });
        columns.forEach((column, index) => {
          if (index === 0) {
            row.append(make("td", {}, make("button", {
              "aria-expanded": open, title: "show its seeds",
              onclick: () => { state.open[open ? "delete" : "add"](one.name); fill(); },
            }, one.name)));
          } else row.append(make("td", column.words ? { class: "words" } : {}, column.cell(one)));
        });
        body.append(row);
        if (!open) continue;
        for (const run of one.runs) {
          const seed = make("tr", { class: "seed" }, make("td", { title: run.run_id }, `seed ${run.seed}`));
          for (const column of columns.slice(1)) {
            seed.append(make("td", column.words ? { class: "words" } : {}, column.seed ? column.seed(run) : ""));
          }
          body.append(seed);
        }
      }
      [...head.children].forEach((cell, index) => {
        if (index === state.by) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      });
    };
    columns.forEach((column, index) => {
      head.append(make("th", { scope: "col", ...(column.words ? { class: "words" } : {}) }, make("button", {
        onclick: () => {
          state.down = state.by === index ? !state.down : index !== 0;
          state.by = index;
          fill();
        },
      }, column.head)));
    });
    fill();
    const all = make("button", {
      class: "fold",
      onclick: () => {
        const open = state.open.size < answer.configurations.length;
        state.open = new Set(open ? answer.configurations.map((one) => one.name) : []);
        fill();
      },
    }, "Show or fold the seeds of all");
    return [make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), body)),
      make("p", { class: "note" }, all)];
  };

  const steps = (low, high, count) => {
    const size = 10 ** Math.floor(Math.log10((high - low) / count));
    const step = [1, 2, 5, 10].map((times) => times * size).find((one) => (high - low) / one <= count);
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) ticks.push(tick);
    return ticks.map((tick) => Number(tick.toPrecision(6)));
  };

  const narrow = window.matchMedia("(max-width: 40rem)").matches;
  const [W, H] = narrow ? [420, 340] : [900, 420], LEFT = narrow ? 48 : 70, RIGHT = 15, TOP = 12, BOTTOM = 48;
  const chart = (lines, look, read) => {
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" });
    const bounds = (keys) => {
      const values = lines.flatMap((line) => keys.flatMap((key) => line[key])).filter((v) => v !== null);
      const low = Math.min(...values), high = Math.max(...values);
      return low < high ? [low, high] : [low - 0.5, high + 0.5];
    };
    if (!lines.length) return svg;
    const [x0, x1] = bounds(["x"]), [y0, y1] = bounds(["low", "high"]);
    const px = (x) => LEFT + (W - LEFT - RIGHT) * (x - x0) / (x1 - x0);
    const py = (y) => H - BOTTOM - (H - TOP - BOTTOM) * (y - y0) / (y1 - y0);
    for (const tick of steps(y0, y1, 6)) {
      svg.append(draw("line", { x1: LEFT, x2: W - RIGHT, y1: py(tick), y2: py(tick), stroke: "#ddd" }),
        draw("text", { x: LEFT - 8, y: py(tick) + 4, "text-anchor": "end" }, String(tick)));
    }
    for (const tick of steps(x0, x1, narrow ? 4 : 8).filter(Number.isInteger)) {
      svg.append(draw("text", { x: px(tick), y: H - BOTTOM + 20, "text-anchor": "middle" }, String(tick)));
    }
    svg.append(draw("text", { x: (LEFT + W) / 2, y: H - 6, "text-anchor": "middle" }, "epoch"));
    const path = (line, key) => {
      let pen = "M";
      return line.x.map((x, at) => {
        if (line[key][at] === null) { pen = "M"; return ""; }
        const step = `${pen}${px(x).toFixed(1)} ${py(line[key][at]).toFixed(1)}`;
        pen = "L";
        return step;
      }).join("");
    };
    for (const line of lines) {
      const known = line.x.map((x, at) => at).filter((at) => line.low[at] !== null);
      const edge = [...known.map((at) => [line.x[at], line.high[at]]),
        ...known.reverse().map((at) => [line.x[at], line.low[at]])];
      svg.append(draw("polygon", {
        points: edge.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" "),
        fill: look[line.of].color, opacity: 0.13,
      }));
    }
    for (const line of lines) {
      svg.append(draw("path", {
        d: path(line, "mean"), fill: "none", stroke: look[line.of].color, "stroke-width": 2.2,
        "stroke-dasharray": look[line.of].dash, "data-of": line.of,
      }));
      if (line.x.length === 1) {
        svg.append(draw("circle", { cx: px(line.x[0]), cy: py(line.mean[0]), r: 4, fill: look[line.of].color }));
      }
    }
    const rule = draw("line", { y1: TOP, y2: H - BOTTOM, stroke: "#888", visibility: "hidden" });
    svg.append(rule);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = x0 + (x1 - x0) * ((event.clientX - box.left) * W / box.width - LEFT) / (W - LEFT - RIGHT);
      const xs = [...new Set(lines.flatMap((line) => line.x))];
      const near = xs.reduce((a, b) => Math.abs(b - x) < Math.abs(a - x) ? b : a);
      for (const [name, value] of Object.entries({ x1: px(near), x2: px(near), visibility: "visible" })) {
        rule.setAttribute(name, value);
      }
      read(`epoch ${near}: ` + lines.filter((line) => line.x.includes(near))
        .map((line) => [line.of, line.mean[line.x.indexOf(near)]])
        .sort((a, b) => b[1] - a[1]).map(([name, value]) => `${name} ${number(value)}`).join(", "));
    });
    return svg;
  };

  const curves = (part, look) => {
    const metrics = Object.keys(part.curves);
    if (!metrics.length) return [];
    const off = new Set(), place = make("div"), reading = make("p", { class: "reading" });
    const usual = metrics.includes("val/balanced_accuracy") ? "val/balanced_accuracy" : metrics[0];
    const show = () => {
      const lines = part.curves[choice.value].filter((line) => !off.has(line.of));
      place.replaceChildren(chart(lines, look, (text) => { reading.textContent = text; }));
      reading.textContent = "Touch or point at the curves to read them.";
    };
    const choice = make("select", { "aria-label": "metric of the curves", onchange: show },
      ...metrics.map((name) => make("option", { value: name }, name)));
    choice.value = usual;
    const chips = make("div", { class: "chips" });
    for (const { name } of part.answer.configurations) {
      const box = make("input", {
        type: "checkbox", checked: "",
        onchange: () => { off[box.checked ? "delete" : "add"](name); show(); },
      });
      const style = ["solid", "dashed", "dotted"][DASHES.indexOf(look[name].dash)];
      chips.append(make("label", {}, box,
        make("i", { style: `color: ${look[name].color}; border-top-style: ${style}` }), name));
    }
    show();
    return [make("h2", {}, "Curves"), choice, chips, place, reading,
      make("p", { class: "note" }, "Means over seeds; the band is one standard deviation.")];
  };

  const matrix = (cells, classes, point) => {
    const size = classes.length, room = size <= 20 ? 130 : 0;
    const scale = Math.max(1, Math.ceil(640 / size)), side = size * scale;
    const canvas = make("canvas", { width: room + side, height: side, class: size > 20 ? "fine" : "" });
    const context = canvas.getContext("2d");
    context.textBaseline = "middle";
    classes.slice(0, room ? size : 0).forEach((name, row) => {
      context.font = `${Math.min(22, scale * 0.7)}px sans-serif`;
      context.textAlign = "right";
      context.fillStyle = "#333";
      context.fillText(name, room - 8, (row + 0.5) * scale, room - 12);
    });
    cells.forEach((cell, at) => {
      const share = Math.max(cell, 0) / 1000;
      const mix = (full) => Math.round(255 + (full - 255) * share);
      context.fillStyle = cell < 0 ? "#eee" : `rgb(${mix(8)},${mix(48)},${mix(107)})`;
      const [x, y] = [room + (at % size) * scale, Math.floor(at / size) * scale];
      context.fillRect(x, y, scale, scale);
      if (size <= 12 && cell >= 5) {
        context.fillStyle = share > 0.5 ? "#fff" : "#000";
        context.font = `${Math.round(scale / 3)}px sans-serif`;
        context.textAlign = "center";
        context.fillText((cell / 1000).toFixed(2).replace(/^0/, ""), x + scale / 2, y + scale / 2);
      }
    });
    for (const kind of ["pointermove", "pointerdown"]) {
      canvas.addEventListener(kind, (event) => {
        const box = canvas.getBoundingClientRect(), zoom = canvas.width / box.width;
        const at = (offset) => Math.floor((zoom * offset) / scale);
        const row = at(event.clientY - box.top), column = at(event.clientX - box.left - room / zoom);
        if (row >= 0 && row < size && column >= 0 && column < size) point(row, column);
      });
    }
    return canvas;
  };

  const confusion = (part) => {
    if (part.confusion.left_out) {
      return [make("h2", {}, "Confusion matrices"), make("p", { class: "note" }, part.confusion.left_out)];
    }
    if (!part.confusion.matrices) return [];
    const { classes, matrices } = part.confusion, reading = make("p", { class: "reading" });
    const named = new Map(matrices.map((one) => [one.of, one.cells]));
    const best = part.answer.configurations.map((one) => one.name)
      .find((name) => named.has(name) && name !== part.answer.baseline);
    const sides = [part.answer.baseline, best].filter((name) => named.has(name));
    const choices = sides.map((chosen) => {
      const choice = make("select", { "aria-label": "configuration of the matrix" },
        ...matrices.map((one) => make("option", { value: one.of }, one.of)));
      choice.value = chosen;
      return choice;
    });
    const point = (row, column) => {
      const shares = choices.map((choice) => {
        const cell = named.get(choice.value)[row * classes.length + column];
        return `${choice.value} ${cell < 0 ? "–" : (cell / 10).toFixed(1) + " %"}`;
      });
      reading.textContent = `${classes[row]} taken for ${classes[column]}: ${shares.join(", ")}`;
    };
    const cells = choices.map((choice) => {
      const place = make("div");
      const show = () => place.replaceChildren(matrix(named.get(choice.value), classes, point));
      choice.addEventListener("change", show);
      show();
      return make("div", {}, choice, place);
    });
    reading.textContent = "Touch or point at a cell to read it.";
    return [make("h2", {}, "Confusion matrices"), make("div", { class: "pair" }, ...cells), reading,
      make("p", { class: "note" },
        "Rows are the true classes, columns the predicted ones, in label order; shares of the true " +
        "class over all seeds.")];
  };

  const pictures = (part) => {
    const { epochs, of } = part.pictures;
    if (!epochs) return [];
    const label = make("p", { class: "reading" }), images = [];
    const cells = part.answer.configurations.map((one) => one.name).filter((name) => of[name])
      .map((name) => {
        const image = make("img", { alt: `images as ${name} predicts them` });
        images.push([image, of[name]]);
        return make("figure", {}, make("figcaption", {}, name), image);
      });
    const slider = make("input", {
      type: "range", min: 0, max: epochs.length - 1, step: 1, value: epochs.length - 1,
      "aria-label": "epoch of the images", oninput: () => show(),
    });
    const show = () => {
      label.textContent = `after epoch ${epochs[slider.value]}`;
      for (const [image, files] of images) {
        const file = files[slider.value];
        image.style.visibility = file ? "visible" : "hidden";
        if (file) image.src = `data:image/webp;base64,${file}`;
      }
    };
    show();
    return [make("h2", {}, "Images over the epochs"), slider, label, make("div", { class: "pair" }, ...cells)];
  };

  const section = (part, several) => {
    const { answer } = part, look = looks(answer);
    const head = several ? [make("h1", {}, `${answer.dataset}`)] : [];
    const said = answer.inference ? [make("p", { class: "note" }, answer.inference)] : [];
    return make("section", {}, ...head, make("h2", {}, "Configurations"), ...table(answer), ...said,
      ...curves(part, look), ...confusion(part), ...pictures(part));
  };

  const { parts } = JSON.parse(document.getElementById("data").textContent);
  document.getElementById("main").append(...parts.map((part) => section(part, parts.length > 1)));
  document.documentElement.dataset.ready = "true";
})();
