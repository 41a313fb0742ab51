import type { ServerResponse } from "node:http";
import { EventStream } from "./event-stream.ts";
import type { Choice } from "./generation.ts";
import { httpErrorOf } from "./http-error.ts";
import type { GenerationRequest } from "./request.ts";
import type { ResponseWriter } from "./response.ts";

/** What a choice has that the client has not been sent. */
interface Unsent {
  text: string;
  /** Tokens that have been sent. */
  sent: number;
  ended: boolean;
}

/** The choices of a request as events. While the client is slow, what comes is put together: what it has not taken stays small. */
export class ChoiceEvents {
  readonly #events: EventStream;
  readonly #writer: ResponseWriter;
  readonly #request: GenerationRequest;
  readonly #unsent: Map<Choice, Unsent>;

  constructor(
    response: ServerResponse,
    writer: ResponseWriter,
    request: GenerationRequest,
    choices: readonly Choice[],
  ) {
    this.#events = new EventStream(response, () => this.#flush());
    this.#writer = writer;
    this.#request = request;
    this.#unsent = new Map(choices.map((choice) => [choice, { text: "", sent: 0, ended: false }]));
    for (const choice of choices) this.#events.send(writer.begin(choice));
  }

  /** A choice has new text, or has ended. */
  push(choice: Choice, text: string): void {
    this.#unsent.get(choice)!.text += text;
    if (!this.#events.isBlocked) this.#flush();
  }

  /** All choices have ended. */
  end(): void {
    this.#flush();
    const { streamUsage } = this.#request;
    if (streamUsage) this.#events.send(this.#writer.usage([...this.#unsent.keys()]));
    this.#events.end();
  }

  /** Something went wrong after the stream had begun. */
  fail(error: unknown): void {
    this.#events.send(httpErrorOf(error).body);
    this.#events.end();
  }

  #flush(): void {
    for (const [choice, unsent] of this.#unsent) {
      const { tokens } = choice.stream;
      const told = this.#request.tokenIds || this.#request.logProbs;
      const hasMore = unsent.text !== "" || (told && tokens.length > unsent.sent);
      const ends = choice.finish !== undefined && !unsent.ended;
      if (!hasMore && !ends) continue;
      this.#events.send(this.#writer.more(choice, unsent.text, tokens.slice(unsent.sent)));
      Object.assign(unsent, { text: "", sent: tokens.length, ended: choice.finish !== undefined });
    }
  }
}
