import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { Engine, nanoTokenizer } from "../../lib/index.ts";
import { Policies, type PolicyOptions } from "../../lib/serve/policies.ts";
import { PolicyServer, type ServerOptions } from "../../lib/serve/server.ts";
import { tinyShape } from "../stages/tiny-run.ts";

/** A server that lives as long as the tests of a file. */
export interface Served {
  folder: string;
  policies: Policies;
  server: PolicyServer;
}

/**
 * Writes a model that has learnt nothing, over the nano vocabulary: its replies are of any tokens, bytes that are no text among
 * them.
 */
async function writeModel(folder: string): Promise<void> {
  await using engine = await Engine.create({ device: "cpu", threads: 1, seed: 3 });
  await using model = await engine.createModel(tinyShape, { initialization: "nano" });
  await model.save(folder);
  nanoTokenizer().save(folder);
}

/** Serves {@link writeModel}'s model as "tiny" on a free port. */
export function serveModel(
  policy: PolicyOptions = {},
  options: Partial<ServerOptions> = {},
  prepare: (folder: string) => Promise<PolicyOptions> = async () => ({}),
): Served {
  const served = {} as Served;
  beforeAll(async () => {
    served.folder = mkdtempSync(join(tmpdir(), "spa-serve-"));
    const model = join(served.folder, "tiny");
    await writeModel(model);
    const settings = ["engine.threads=1", "engine.device=cpu"];
    const prepared = await prepare(served.folder);
    served.policies = await Policies.open(model, { settings, context: 512, ...policy, ...prepared });
    const { models } = served.policies;
    served.server = await PolicyServer.start({ models, port: 0, ...options });
  });
  afterAll(async () => {
    await served.server?.close(1);
    await served.policies?.[Symbol.asyncDispose]();
    rmSync(served.folder, { recursive: true, force: true });
  });
  return served;
}
