import { basename } from "node:path";
import { badArgument } from "../addon/arguments.ts";
import { type LoadAgentOptions, type LoadedPolicy, loadPolicy } from "../agent/load.ts";
import type { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import { ServedModel, type ServedModelOptions } from "./served-model.ts";

/** An adapter and the name that it is served under. */
export interface NamedAdapter {
  name: string;
  /** PEFT's files. */
  folder: string;
}

export interface PolicyOptions extends LoadAgentOptions {
  /** The name that it is served under; by default that of its folder, or its Hub id. */
  name?: string;
  /** Adapters on the same weights. */
  adapters?: readonly NamedAdapter[];
  /** Requests of a model that sample at the same time; 16 by default. */
  slots?: number;
  /** Tokens of a prompt and its reply together; by default the run's `protocol.maxTokens`, of a model up to 4096. */
  context?: number;
}

const SLOTS = 16;
const CONTEXT = 4096;

/** Models of one engine, ready to be served. */
export class Policies implements AsyncDisposable {
  readonly policy: LoadedPolicy;
  readonly models: readonly ServedModel[];

  private constructor(policy: LoadedPolicy, models: readonly ServedModel[]) {
    this.policy = policy;
    this.models = models;
  }

  /**
   * Loads what is to be served.
   *
   * @throws SpaError as `Agent.load`; BAD_ADAPTER, BAD_ARGUMENT for a name that two have, CAPACITY for a context that the model
   * lacks, OUT_OF_MEMORY where slots of that many tokens do not fit
   */
  static async open(source: string, options: PolicyOptions = {}): Promise<Policies> {
    const { name, adapters = [], slots = SLOTS, context, ...loading } = options;
    const policy = await loadPolicy(source, loading);
    const { run, config, tokenizer, format, model } = policy;
    const own = name ?? policy.name;
    const models: ServedModel[] = [];
    try {
      const names = [own, ...adapters.map((adapter) => adapter.name)];
      const twice = names.find((each, index) => names.indexOf(each) < index);
      if (twice !== undefined) throw badArgument(`two models are to be served as "${twice}"`);
      const open = async (part: Pick<ServedModelOptions, "name" | "model" | "fingerprint" | "parent">) => {
        const most = run ? config.protocol.maxTokens : Math.min(model.config.maxPositions, CONTEXT);
        // A model without a run speaks as it is spoken to.
        const forced = run && config.protocol.forceThink ? "<think>" : "";
        const shared = { tokenizer, format, forced, slots, context: context ?? most, seed: config.seed };
        models.push(await ServedModel.open({ ...shared, ...part }));
      };
      await open({ name: own, model, fingerprint: basename(policy.folder), parent: null });
      for (const adapter of adapters) {
        const loaded = await loadOn(model, adapter.folder);
        await open({ ...adapter, model: loaded, fingerprint: basename(adapter.folder), parent: own });
      }
      return new Policies(policy, models);
    } catch (error) {
      for (const served of models) await served[Symbol.asyncDispose]();
      await policy.model.dispose();
      if (policy.ownsEngine) await policy.engine.dispose();
      throw error;
    }
  }

  get engine(): Engine {
    return this.policy.engine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const served of this.models) await served[Symbol.asyncDispose]();
    if (this.policy.ownsEngine) await this.engine.dispose();
  }
}

/** An adapter on the weights that a model has, or that lie under its own adapter. */
export async function loadOn(model: Model, folder: string): Promise<Model> {
  if (!model.adapter) return await model.loadAdapter(folder);
  const backbone = await model.backbone();
  try {
    return await backbone.loadAdapter(folder);
  } finally {
    await backbone.dispose();
  }
}
