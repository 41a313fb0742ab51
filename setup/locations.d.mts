// Types of locations.mjs, for lib/; what each function does stands there.

export function homeFolder(): string | undefined;
export function cacheFolder(): string | undefined;
export function isClone(root: string): boolean;
export function nativeFolder(root: string): string | undefined;
export function addonFolder(root: string, native: string, libtorch?: string): string;
export function readLibtorchRecord(
  native: string,
): { path: string; version?: string; how?: string } | undefined;
