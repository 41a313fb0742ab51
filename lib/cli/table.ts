import { visibleLine } from "../visible-text.ts";

/** How a column is set. */
export type Alignment = "left" | "right";

/** Rows of text as lines with aligned columns, a rule under the header, two spaces between columns. */
export function formatTable(header: string[], texts: string[][], alignments: Alignment[] = []): string {
  const rows = texts.map((row) => row.map(visibleLine));
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column].length)),
  );
  const line = (cells: string[]) =>
    cells
      .map((cell, column) =>
        alignments[column] === "right" ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
      )
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "─".repeat(width)).join("  ");
  return [line(header), rule, ...rows.map(line)].join("\n");
}
