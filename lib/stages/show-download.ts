import type { DownloadProgress } from "../hub/download-snapshot.ts";
import type { ResolveOptions } from "../hub/resolve-model.ts";
import type { Progress } from "../run/progress.ts";

const megabytes = (bytes: number) => Math.round(bytes / 1e6);

/** Callbacks of {@link resolveModel} that show a download, in megabytes; nothing is shown where none is needed. */
export function showDownload(
  progress: Progress,
  id: string,
): Required<Pick<ResolveOptions, "onProgress" | "onNote">> {
  let stage: { begin: number; bytesBefore: number; total: number } | undefined;
  const onProgress = ({ file, files, totalFiles, bytes, totalBytes }: DownloadProgress) => {
    // Which shards there are is known only once the index is there: the total then grows.
    if (stage?.total !== totalBytes) {
      if (stage) progress.done();
      stage = { begin: performance.now(), bytesBefore: bytes, total: totalBytes };
      progress.stage(`download ${id} (MB)`, megabytes(totalBytes), megabytes(bytes));
    }
    const seconds = (performance.now() - stage.begin) / 1000;
    const rate = seconds > 0 ? (bytes - stage.bytesBefore) / 1e6 / seconds : 0;
    progress.tick(megabytes(bytes), { file, files: `${files}/${totalFiles}`, MB_per_second: rate });
    if (files === totalFiles) progress.done();
  };
  return { onProgress, onNote: (text) => progress.note(text) };
}
