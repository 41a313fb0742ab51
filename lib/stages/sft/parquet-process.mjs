// Reads a Parquet file for lib/stages/sft/parquet-reader.ts, in a process of its own: a damaged file can make the parser loop
// or take memory without bound, and V8 ends a whole process where one thread asks for too much at once. Plain JavaScript,
// so that node runs it from the sources and from an installed package alike.

import { Worker } from "node:worker_threads";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import { compressors } from "hyparquet-compressors";

/** Rows in a message: the reader's event loop is held up for about a millisecond. */
const ROWS_PER_MESSAGE = 64;

// Text is what the bytes say: a byte order mark is kept, and what is no UTF-8 is refused.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const parsers = { stringFromBytes: (bytes) => bytes && decoder.decode(bytes) };

/** Resolves when the message has left, so that no more than one waits. */
function tell(message) {
  return new Promise((resolve) => process.send(message, resolve));
}

/**
 * Leaves of a file's schema only what was asked for, so that nothing else is read: of a column with `fields` that is a
 * structure, those of its children.
 */
function select(metadata, columns) {
  const root = parquetSchema(metadata);
  const kept = new Set([root]);
  const keepAll = (node) => {
    kept.add(node);
    node.children.forEach(keepAll);
  };
  for (const column of root.children) {
    const wanted = columns.find(({ name }) => name === column.element.name);
    if (!wanted) continue;
    const children = column.children.filter(({ element }) => wanted.fields?.includes(element.name));
    if (!wanted.fields || !isStructure(column)) keepAll(column);
    else if (children.length > 0) {
      kept.add(column);
      children.forEach(keepAll);
    }
  }
  const inOrder = (node) => [node, ...node.children.flatMap(inOrder)];
  const nodes = inOrder(root).filter((node) => kept.has(node));
  const leaves = new Set(
    nodes.filter(({ children }) => children.length === 0).map(({ path }) => path.join("\0")),
  );
  return {
    ...metadata,
    schema: nodes.map(({ element, children }) => ({
      ...element,
      ...(children.length > 0 && { num_children: children.filter((child) => kept.has(child)).length }),
    })),
    row_groups: metadata.row_groups.map((group) => ({
      ...group,
      columns: group.columns.filter(({ meta_data }) => leaves.has(meta_data?.path_in_schema.join("\0"))),
    })),
  };
}

/** Neither a list nor a map, which have a repeated child. */
function isStructure({ children }) {
  return children.length > 0 && !children.some(({ element }) => element.repetition_type === "REPEATED");
}

async function read({ path, columns, utf8 }) {
  const file = await asyncBufferFromFile(path);
  const whole = await parquetMetadataAsync(file);
  await tell({ columns: parquetSchema(whole).children.map(({ element }) => element.name) });
  const metadata = select(whole, columns);
  let begin = 0;
  for (const group of metadata.row_groups) {
    const end = begin + Number(group.num_rows);
    const options = { file, metadata, rowStart: begin, rowEnd: end, utf8, compressors, parsers };
    const rows = end > begin ? await parquetReadObjects(options) : [];
    if (rows.length !== end - begin) throw new Error(`rows ${begin} to ${end - 1} are not all there`);
    for (let row = 0; row < rows.length; row += ROWS_PER_MESSAGE) {
      await tell({ rows: rows.slice(row, row + ROWS_PER_MESSAGE) });
    }
    begin = end;
  }
  if (begin !== Number(whole.num_rows)) throw new Error(`it has ${begin} rows instead of ${whole.num_rows}`);
  await tell({ done: true });
}

function fail(error) {
  void tell({ failure: { message: error?.message ?? String(error) } });
}

// Whether and when to stop is the reader's to say: a terminal sends Ctrl-C to both.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
process.on("disconnect", () => process.exit());
process.on("unhandledRejection", fail);
process.on("uncaughtException", fail);
// A thread that sees to it that no busy process outlives its reader.
const watch = `const { workerData } = require("node:worker_threads");
setInterval(() => process.ppid === workerData || process.kill(process.pid, "SIGKILL"), 1000);`;
new Worker(watch, { eval: true, workerData: process.ppid }).unref();
process.once("message", (request) => {
  read(request).catch(fail);
});
