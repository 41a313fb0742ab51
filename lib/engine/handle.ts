import type { NativeCall, NativeProgress } from "../addon/addon.ts";
import { SpaError } from "../errors.ts";
import { type LongCall, run } from "./call.ts";

/** What a handle lives on: with it, the handle ends. */
interface Owner {
  readonly disposed: boolean;
  dispose(): Promise<void>;
}

/** A native object, as far as its end goes. */
interface NativeObject {
  dispose(): NativeCall<void> | Promise<void>;
}

/** JavaScript's side of an object on an engine's thread: its calls, its end, and that none is made after it. */
export abstract class Handle<Native extends NativeObject> {
  readonly #kind: string;
  readonly #native: Native;
  readonly #owner: Owner | null;
  #disposal: Promise<void> | undefined;

  /**
   * @param kind for messages, e.g. "model"
   * @param owner null for an engine
   */
  protected constructor(kind: string, native: Native, owner: Owner | null) {
    this.#kind = kind;
    this.#native = native;
    this.#owner = owner;
  }

  /** It was disposed of, or what it lives on was; nothing can be called any more. */
  get disposed(): boolean {
    return this.#disposal !== undefined || (this.#owner?.disposed ?? false);
  }

  /** The native object, for the classes of this folder. @throws SpaError `DISPOSED`. @internal */
  get native(): Native {
    if (!this.disposed) return this.#native;
    throw new SpaError("DISPOSED", `the ${this.#kind} was disposed`, { hint: `create a new ${this.#kind}` });
  }

  /** Makes a native call, see {@link run}; it has been queued when this returns. @throws SpaError `DISPOSED`. */
  protected async call<T>(
    start: (native: Native, progress: NativeProgress) => NativeCall<T>,
    options?: LongCall,
  ): Promise<T> {
    const { native } = this;
    return run((progress) => start(native, progress), options);
  }

  /** Frees what lives on the engine's thread once the calls made before are done. Further calls do nothing. */
  dispose(): Promise<void> {
    this.#disposal ??= this.#owner?.disposed ? this.#owner.dispose() : this.#end();
    return this.#disposal;
  }

  #end(): Promise<void> {
    const end = this.#native.dispose();
    return end instanceof Promise ? end : end.promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
