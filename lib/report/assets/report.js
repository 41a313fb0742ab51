// Draws the charts of report.html with uPlot. Data stand in #chart-data (lib/report/charts.ts); charts
// behind a fold are drawn when it is opened, all again when the window's width or the colour scheme changes.
(() => {
  const charts = JSON.parse(document.getElementById("chart-data")?.textContent ?? "[]");
  const height = 190;
  const drawn = new Map();

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** Mean over a window around each step that reaches a twentieth of the curve to either side. */
  function smooth(values) {
    const reach = Math.floor(values.length / 20);
    return values.map((value, index) => {
      if (value === null || reach === 0) return value;
      const near = values
        .slice(Math.max(0, index - reach), index + reach + 1)
        .filter((other) => other !== null);
      return near.reduce((sum, other) => sum + other, 0) / near.length;
    });
  }

  function formatValue(value, share) {
    if (value === null || value === undefined) return "–";
    if (share) return `${(100 * value).toFixed(1)} %`;
    return Math.abs(value) < 1e-3 && value !== 0
      ? value.toExponential(1)
      : String(Number(value.toPrecision(3)));
  }

  function axis(share, isX) {
    return {
      stroke: color("--quiet"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: color("--line"), width: 1, show: !isX },
      ticks: { show: false },
      border: { show: isX, stroke: color("--line"), width: 1 },
      size: isX ? 26 : 48,
      gap: 4,
      values: (_, splits) =>
        splits.map((value) =>
          isX ? value : share ? `${Math.round(100 * value)} %` : formatValue(value, false),
        ),
    };
  }

  /** The figures of each step thin, without a line in the legend, and their moving mean thick. */
  function seriesOf(chart) {
    return chart.series.flatMap(({ name, color: number, dashed, values }) => {
      const stroke = color(`--arm-${number}`);
      const dash = dashed ? [5, 4] : undefined;
      const points = { show: values.filter((value) => value !== null).length < 30, size: 4, fill: stroke };
      const rounded = (_, value) => formatValue(value, chart.share);
      return [
        {
          label: `${name}, each step`,
          stroke,
          dash,
          width: 1,
          alpha: 0.35,
          points: { show: false },
          spanGaps: true,
          class: "raw",
        },
        { label: name, stroke, dash, width: 2, points, spanGaps: true, value: rounded },
      ];
    });
  }

  function draw(chart, place) {
    drawn.get(chart.id)?.destroy();
    const range = chart.share ? { range: [0, 1] } : {};
    const data = [chart.x, ...chart.series.flatMap(({ values }) => [values, smooth(values)])];
    const plot = new uPlot(
      {
        width: place.clientWidth,
        height,
        scales: { x: { time: false }, y: range },
        series: [{ label: "step" }, ...seriesOf(chart)],
        axes: [axis(false, true), axis(chart.share, false)],
        cursor: { y: false, points: { size: 6 } },
        legend: { live: true },
      },
      data,
      place,
    );
    // The thin line speaks of the same arm as the thick one.
    for (const row of place.querySelectorAll(".u-series.raw")) row.style.display = "none";
    drawn.set(chart.id, plot);
  }

  const byPlace = new Map(charts.map((chart) => [document.getElementById(chart.id), chart]));

  /** Draws what has a width: charts behind a closed fold have none. */
  function drawShown() {
    for (const [place, chart] of byPlace) {
      if (place.clientWidth > 0 && !drawn.has(chart.id)) draw(chart, place);
    }
  }
  drawShown();
  for (const fold of document.querySelectorAll("details.more")) fold.addEventListener("toggle", drawShown);

  function resize() {
    for (const [place, chart] of byPlace) {
      const plot = drawn.get(chart.id);
      if (plot && place.clientWidth > 0) plot.setSize({ width: place.clientWidth, height });
    }
  }

  function redraw() {
    for (const [place, chart] of byPlace) if (drawn.has(chart.id)) draw(chart, place);
  }

  let pending;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(resize);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
