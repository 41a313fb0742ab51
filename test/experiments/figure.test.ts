import { describe, expect, test } from "vitest";
import { type Figure, renderFigure } from "../../lib/experiments/figure.ts";

/** A line whose interval is a tenth to either side. */
function line(name: string, values: readonly [x: number, mean: number][]): Figure["lines"][number] {
  return {
    name,
    color: 0,
    points: values.map(([x, mean]) => ({ x, mean, interval: [mean - 0.1, mean + 0.1] })),
  };
}

function svgOf(figure: Partial<Figure>): string {
  return renderFigure({ title: "Success", xTitle: "step", share: true, lines: [], ...figure }).text;
}

/** The points of every polyline or polygon. */
function pointsOf(svg: string, kind: "polyline" | "polygon"): number[][][] {
  const found = [...svg.matchAll(new RegExp(`<${kind}[^>]* points="([^"]*)"`, "g"))];
  return found.map(([, points]) => points.split(" ").map((pair) => pair.split(",").map(Number)));
}

describe("a figure", () => {
  test("draws shares between 0 and 1, from the left end to the right", () => {
    const svg = svgOf({
      lines: [
        line("spa", [
          [0, 0],
          [10, 1],
        ]),
      ],
    });
    const [[[left, low], [right, high]]] = pointsOf(svg, "polyline");
    const rules = [...svg.matchAll(/class="rule" x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)"/g)];
    expect([left, right]).toEqual([Number(rules[0][1]), Number(rules[0][2])]);
    expect([low, high]).toEqual([Number(rules[0][3]), Number(rules[4][3])]);
    expect(svg).toContain(">100 %</text>");
  });

  test("cuts a band at the edge of what can be", () => {
    const [[upper, , , lower]] = pointsOf(
      svgOf({
        lines: [
          line("spa", [
            [0, 1],
            [1, 0],
          ]),
        ],
      }),
      "polygon",
    );
    const [[first]] = pointsOf(
      svgOf({
        lines: [
          line("spa", [
            [0, 1],
            [1, 0],
          ]),
        ],
      }),
      "polyline",
    );
    expect(upper).toEqual(first);
    expect(lower[1]).toBeGreaterThan(first[1]);
  });

  test("puts powers of two at equal distances", () => {
    const [[one, two, four]] = pointsOf(
      svgOf({
        logarithmic: true,
        lines: [
          line("spa", [
            [1, 0.5],
            [2, 0.5],
            [4, 0.5],
          ]),
        ],
      }),
      "polyline",
    );
    expect(two[0] - one[0]).toBeCloseTo(four[0] - two[0], 0);
  });

  test("draws what is no share over its own range", () => {
    const svg = svgOf({
      share: false,
      lines: [
        line("entropy", [
          [0, 2],
          [1, 4],
        ]),
      ],
    });
    for (const label of ["1.9", "3", "4.1"]) expect(svg).toContain(`>${label}</text>`);
  });

  test("has a dashed line where a colour is taken again", () => {
    const lines = [0, 5, 6].map((color) => ({ ...line(`arm ${color}`, [[1, 0.5]]), color }));
    const drawn = [...svgOf({ lines }).matchAll(/<polyline class="line (c\d)"( stroke-dasharray="6 4")?/g)];
    expect(drawn.map(([, color, dash]) => [color, dash !== undefined])).toEqual([
      ["c0", false],
      ["c5", false],
      ["c0", true],
    ]);
  });

  test("says what it shows, and escapes names", () => {
    const svg = svgOf({
      title: "Pass@1 <all>",
      lines: [
        line("a & b", [
          [1, 0.25],
          [60, 0.5],
        ]),
      ],
    });
    expect(svg).toContain('aria-label="Pass@1 &lt;all&gt;. a &amp; b 0.25 at 1, 0.5 at 60"');
    expect(svg).not.toContain("<all>");
  });
});
