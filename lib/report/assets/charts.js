// Draws charts (lib/report/charts.ts) with uPlot, for report.html and for the page of `spa watch`: one board a page, whose
// charts share what they are drawn over, smoothing, and the cursor.
globalThis.spaCharts = (() => {
  const height = 190;
  const palette = 7;
  /** Shares below this are not drawn on the whole scale. */
  const tiny = 0.25;
  const axes = { step: "step", tokens: "tokens", time: "seconds" };

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** Mean over a window around each figure that reaches half of `share` of the curve to either side. */
  function smooth(values, share) {
    const reach = Math.floor((values.length * share) / 2);
    if (reach === 0) return values;
    const sums = [0];
    for (const value of values) sums.push(sums[sums.length - 1] + value);
    return values.map((_, index) => {
      const begin = Math.max(0, index - reach);
      const end = Math.min(values.length, index + reach + 1);
      return (sums[end] - sums[begin]) / (end - begin);
    });
  }

  function formatValue(value, share) {
    if (value === null || value === undefined) return "–";
    if (share) return `${(100 * value).toFixed(1)} %`;
    return Math.abs(value) < 1e-3 && value !== 0
      ? value.toExponential(1)
      : String(Number(value.toPrecision(3)));
  }

  function formatX(value, axis) {
    if (axis !== "tokens" || value < 10_000) return String(Number(value.toPrecision(6)));
    return value < 1e6
      ? `${Number((value / 1e3).toPrecision(4))}k`
      : `${Number((value / 1e6).toPrecision(4))}M`;
  }

  /** A series' figures that there are, with their places on the axis. */
  function pointsOf({ stage, values }, columns, axis) {
    const places = columns[stage][axis];
    const points = values.map((value, index) => [places[index], value]);
    return points.filter(([x, y]) => x !== null && y !== null).sort((left, right) => left[0] - right[0]);
  }

  /** uPlot's data: x, then for each series its figures and their moving mean. */
  function dataOf(chart, columns, { axis, smoothing }) {
    const tables = chart.series.map((series) => {
      const points = pointsOf(series, columns, axis);
      const values = points.map(([, y]) => y);
      return [points.map(([x]) => x), values, smooth(values, smoothing)];
    });
    return uPlot.join(tables);
  }

  /** Shares stand on a scale from 0 to 1, unless nothing would be seen on it. */
  function rangeOf(chart) {
    if (!chart.share) return {};
    const largest = Math.max(
      0,
      ...chart.series.flatMap(({ values }) => values.filter((value) => value !== null)),
    );
    return largest >= tiny || largest === 0 ? { range: [0, 1] } : { range: [0, 1.15 * largest] };
  }

  function yAxis(share) {
    return {
      ...axisStyle(),
      size: 52,
      values: (_, splits) => {
        const digits = share && splits[1] - splits[0] < 0.01 ? 1 : 0;
        return splits.map((value) =>
          share ? `${(100 * value).toFixed(digits)} %` : formatValue(value, false),
        );
      },
    };
  }

  function xAxis(axis) {
    return {
      ...axisStyle(),
      grid: { show: false },
      border: { show: true, stroke: color("--line"), width: 1 },
      size: 26,
      values: (_, splits) => splits.map((value) => formatX(value, axis)),
    };
  }

  function axisStyle() {
    return {
      stroke: color("--quiet"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
      gap: 4,
    };
  }

  /** The figures of each step thin, without a line in the legend, and their moving mean thick. */
  function seriesOf(chart) {
    return chart.series.flatMap(({ name, color: number, dashed, values }) => {
      const stroke = color(`--arm-${number % palette}`);
      const dash = dashed ? [5, 4] : number >= palette ? [9, 3] : undefined;
      const points = { show: values.filter((value) => value !== null).length < 30, size: 4, fill: stroke };
      const thin = { stroke, dash, width: 1, alpha: 0.35, points: { show: false }, spanGaps: true };
      const rounded = (_, value) => formatValue(value, chart.share);
      return [
        { ...thin, label: `${name}, each step`, class: "raw" },
        { label: name, stroke, dash, width: 2, points, spanGaps: true, value: rounded },
      ];
    });
  }

  /** Lays a tint over what is outside of the healthy range, with a line at its bound. */
  function rangeMark({ low, high }) {
    return (plot) => {
      const { ctx, bbox } = plot;
      const bottom = bbox.top + bbox.height;
      const place = (bound) => Math.min(bottom, Math.max(bbox.top, plot.valToPos(bound, "y", true)));
      ctx.save();
      ctx.fillStyle = ctx.strokeStyle = color("--bad");
      ctx.setLineDash([2, 3]);
      for (const [bound, far] of [
        [low, bottom],
        [high, bbox.top],
      ]) {
        if (bound === undefined) continue;
        const at = place(bound);
        if (Math.abs(far - at) < 1) continue;
        ctx.globalAlpha = 0.06;
        ctx.fillRect(bbox.left, Math.min(at, far), bbox.width, Math.abs(far - at));
        ctx.globalAlpha = 0.6;
        ctx.beginPath();
        ctx.moveTo(bbox.left, at);
        ctx.lineTo(bbox.left + bbox.width, at);
        ctx.stroke();
      }
      ctx.restore();
    };
  }

  /** Text of a table's cell: quoted, and no formula of a spreadsheet. */
  const cell = (value) =>
    typeof value === "number"
      ? String(value)
      : `"${String(value ?? "")
          .replace(/^[=+\-@]/, "'$&")
          .replaceAll('"', '""')}"`;

  function csvOf({ title, series }, columns) {
    const rows = series.flatMap(({ name, stage, values }) => {
      const { step, tokens, time } = columns[stage];
      return values.flatMap((value, k) =>
        value === null ? [] : [[name, step[k], tokens[k], time[k], value]],
      );
    });
    return [["line", "step", "tokens", "seconds", title], ...rows]
      .map((row) => row.map(cell).join(","))
      .join("\r\n");
  }

  /** The plot with title and legend on the page's ground. */
  function pictureOf({ title, series }, plot) {
    const scale = devicePixelRatio || 1;
    const source = plot.ctx.canvas;
    const canvas = document.createElement("canvas");
    canvas.width = source.width;
    canvas.height = source.height + (30 + 18 * series.length) * scale;
    const context = canvas.getContext("2d");
    context.fillStyle = color("--ground");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(source, 0, 26 * scale);
    context.scale(scale, scale);
    context.font = "600 14px system-ui, sans-serif";
    context.fillStyle = color("--ink");
    context.fillText(title, 8, 18);
    context.font = "12px system-ui, sans-serif";
    for (const [index, { name, color: number }] of series.entries()) {
      const y = source.height / scale + 42 + 18 * index;
      context.fillStyle = color(`--arm-${number % palette}`);
      context.fillRect(8, y - 9, 10, 10);
      context.fillStyle = color("--ink");
      context.fillText(name, 24, y);
    }
    return canvas;
  }

  const isShown = (place) => place.clientWidth > 0 && place.closest("details:not([open])") === null;

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  /** The charts within `root`, which holds what lib/report/chart-section.ts writes. */
  class Board {
    #drawn = new Map();
    #settings = { axis: "step", smoothing: 0.1 };
    #sync = uPlot.sync("spa");

    constructor(root) {
      this.root = root;
      this.connect();
    }

    /** Finds charts, their data and controls in the markup, which may have been replaced, and draws them. */
    connect() {
      for (const plot of this.#drawn.values()) plot.destroy();
      this.#drawn.clear();
      const { charts = [], columns = {} } = JSON.parse(
        this.root.querySelector("#chart-data")?.textContent ?? "{}",
      );
      this.columns = columns;
      const found = charts.map((chart) => [document.getElementById(chart.id), chart]);
      this.byPlace = new Map(found.filter(([place]) => place !== null));
      for (const fold of this.root.querySelectorAll("details.more"))
        fold.addEventListener("toggle", () => this.drawShown());
      for (const [place, chart] of this.byPlace) {
        const files = place.parentElement.querySelector(".chart-files");
        files.hidden = false;
        files.addEventListener("click", ({ target }) => this.#save(place, chart.id, target.dataset.file));
      }
      this.#connectControls();
      this.drawShown();
    }

    #connectControls() {
      const form = this.root.querySelector("#chart-controls");
      if (!form) return;
      form.hidden = false;
      for (const option of form.axis.options)
        option.disabled = !Object.values(this.columns).some((column) =>
          column[option.value].some((x) => x !== null),
        );
      form.axis.value = this.#settings.axis;
      form.smoothing.value = this.#settings.smoothing;
      form.addEventListener("input", () => {
        this.#settings = { axis: form.axis.value, smoothing: Number(form.smoothing.value) };
        this.redraw();
      });
      form.addEventListener("submit", (event) => event.preventDefault());
    }

    #save(place, id, kind) {
      const chart = this.byPlace.get(place);
      const plot = this.#drawn.get(place);
      if (kind === "csv") save(new Blob([csvOf(chart, this.columns)], { type: "text/csv" }), `${id}.csv`);
      if (kind === "png" && plot) pictureOf(chart, plot).toBlob((blob) => save(blob, `${id}.png`));
    }

    /** Draws what can be seen, charts behind a closed fold when it is opened. */
    drawShown() {
      for (const [place, chart] of this.byPlace) {
        if (isShown(place) && !this.#drawn.has(place)) this.#draw(place, chart);
      }
    }

    #draw(place, chart) {
      this.#drawn.get(place)?.destroy();
      const { axis } = this.#settings;
      const plot = new uPlot(
        {
          width: place.clientWidth,
          height,
          scales: { x: { time: false }, y: rangeOf(chart) },
          series: [
            { label: axes[axis], value: (_, x) => (x === null ? "–" : formatX(x, axis)) },
            ...seriesOf(chart),
          ],
          axes: [xAxis(axis), yAxis(chart.share)],
          cursor: { y: false, points: { size: 6 }, sync: { key: this.#sync.key } },
          legend: { live: true },
          hooks: chart.range ? { draw: [rangeMark(chart.range)] } : {},
        },
        dataOf(chart, this.columns, this.#settings),
        place,
      );
      // The thin line speaks of the same arm as the thick one.
      for (const row of place.querySelectorAll(".u-series.raw")) row.style.display = "none";
      this.#drawn.set(place, plot);
    }

    /** Draws the charts that are drawn again: in other colours, over another axis. */
    redraw() {
      for (const [place, chart] of this.byPlace) if (this.#drawn.has(place)) this.#draw(place, chart);
    }

    resize() {
      for (const [place, plot] of this.#drawn)
        if (isShown(place)) plot.setSize({ width: place.clientWidth, height });
      this.drawShown();
    }
  }

  /** The charts in an element of the page; they follow the window's width and the colour scheme. */
  function board(root) {
    const made = new Board(root);
    let pending;
    window.addEventListener("resize", () => {
      cancelAnimationFrame(pending);
      pending = requestAnimationFrame(() => made.resize());
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => made.redraw());
    return made;
  }

  return { board };
})();
