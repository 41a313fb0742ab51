import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { ChoiceEvents } from "./choice-events.ts";
import { type Choice, choicesOf, generate } from "./generation.ts";
import { answer } from "./http.ts";
import { HttpError, tooManyRequests } from "./http-error.ts";
import type { GenerationRequest } from "./request.ts";
import { ResponseWriter } from "./response.ts";
import type { ServedModel } from "./served-model.ts";

export interface CompletionOptions {
  /** Number of the request: without a seed it decides the random numbers. */
  number: number;
  /** Choices that may wait for a slot. */
  maxWaiting: number;
  /** Seconds that the answer may take. */
  timeout: number;
  /** Told once, when there is text. */
  onFirstText: () => void;
  /** Told when all choices have ended, before the answer has. */
  onDone?: (choices: readonly Choice[]) => void;
}

/**
 * Answers a request for text, at once or as a stream of events. A client that goes takes its request with it.
 *
 * @throws HttpError, SpaError; where a stream has begun, it has been told and ended
 */
export async function complete(
  served: ServedModel,
  request: GenerationRequest,
  response: ServerResponse,
  { number, maxWaiting, timeout, onFirstText, onDone }: CompletionOptions,
): Promise<void> {
  const choices = choicesOf(served, request);
  if (!served.hasRoom(choices.length, maxWaiting)) throw tooManyRequests(served.sampler.figures.waiting);
  const writer = new ResponseWriter(served, request, randomUUID());
  const ending = new AbortController();
  const late = setTimeout(() => ending.abort(timedOut(timeout)), 1000 * timeout);
  const gone = () => ending.abort(new HttpError(499, "the client has gone"));
  response.once("close", gone);
  let events: ChoiceEvents | undefined;
  let hasText = false;
  const onText = (choice: Choice, text: string) => {
    if (!hasText && text !== "") onFirstText();
    hasText ||= text !== "";
    if (!request.stream) return;
    // Not before there is something to say: until then a refusal has a status of its own.
    events ??= new ChoiceEvents(response, writer, request, choices);
    events.push(choice, text);
  };
  try {
    await generate(served, request, choices, { signal: ending.signal, number, onText });
    onDone?.(choices);
    if (events) events.end();
    else answer(response, 200, writer.whole(choices));
  } catch (error) {
    const reason = ending.signal.aborted ? ending.signal.reason : error;
    events?.fail(reason);
    throw reason;
  } finally {
    clearTimeout(late);
    response.off("close", gone);
  }
}

function timedOut(seconds: number): HttpError {
  return new HttpError(504, `the answer has taken more than ${seconds} s`, { code: "timeout" });
}
