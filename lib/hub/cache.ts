// The cache folder that Hugging Face's programs share:
//
//   models--<organisation>--<name>/
//     blobs/<etag>               files by what the Hub calls their content: sha256 of LFS files, git's sha1 of others
//     refs/<branch or tag>       the commit that it last stood for
//     snapshots/<commit>/<path>  links to blobs
//   .locks/models--…/            who downloads at the moment

import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { makeFolders } from "../files/folders.ts";
import { missingFiles } from "./wanted-files.ts";

const commitPattern = /^[0-9a-f]{40}$/;

/** Whether a revision is a whole commit id, which never changes its meaning. */
export function isCommit(revision: string): boolean {
  return commitPattern.test(revision);
}

/** The folder of one model in the cache. */
export class CachedRepository {
  readonly folder: string;
  /** Holds the lock of whoever downloads. */
  readonly lockFolder: string;

  constructor(cacheFolder: string, id: string) {
    const name = `models--${id.replaceAll("/", "--")}`;
    this.folder = join(cacheFolder, name);
    this.lockFolder = join(cacheFolder, ".locks", name);
  }

  blob(etag: string): string {
    return join(this.folder, "blobs", etag);
  }

  /** Where a blob grows until it is whole; another name than huggingface_hub's, which appends under a lock of its own. */
  partialBlob(etag: string): string {
    return `${this.blob(etag)}.spa.incomplete`;
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** The commit that a revision stood for when it was last looked up; undefined where it never was. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision;
    const file = join(this.folder, "refs", revision);
    const commit = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
    return isCommit(commit) ? commit : undefined;
  }

  /** Notes what a branch or tag stands for. */
  setRef(revision: string, commit: string): void {
    if (isCommit(revision) || this.commitOf(revision) === commit) return;
    const file = join(this.folder, "refs", revision);
    makeFolders(dirname(file));
    writeFileAtomically(file, commit);
  }

  /** Makes a blob appear in a snapshot under its path. */
  link(commit: string, path: string, etag: string): void {
    const pointer = join(this.snapshot(commit), path);
    makeFolders(dirname(pointer));
    try {
      symlinkSync(relative(dirname(pointer), this.blob(etag)), pointer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }

  /** What a snapshot lacks to be a model (or, without weights, its configuration and tokenizer): empty when it is whole. */
  missing(commit: string, weights: boolean): string[] {
    return missingFiles(this.snapshot(commit), weights);
  }
}
