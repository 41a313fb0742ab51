import { describe, expect, it } from "vitest";
import { actionLookup } from "../../envs/actions.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { writeTurn } from "../../lib/text/turn-text.ts";
import { errorOf } from "../thrown-error.ts";

const tokenizer = nanoTokenizer();
const { protocol: settings } = configSchema.parse({});

/** The actions that a reply with `action` is read as. */
function readBack(action: string, actions: string[]): string[] {
  const protocol = new TurnProtocol(tokenizer, settings, "plain");
  const spans = writeTurn({ format: "plain", reasoning: "", actions: [action] });
  return protocol.read(protocol.encodeReply(spans).tokens, { name: "mine", actions }).parsed.actions;
}

describe("actions", () => {
  it.each(["Up", "go north", "1,2,3", "|", "a|b", "<up>", "r", "R", "ä"])("%j is carried", (action) => {
    expect(readBack(action, ["r", "R", "Up", "go north", "1,2,3", "|", "a|b", "<up>", "ä"])).toEqual([
      action,
    ]);
  });

  it.each(["a || b", "||", " Up", "Up\n", "\u2003", "<think>", "a</answer>", "<prediction>b"])(
    "%j is refused before a turn is played",
    (action) => {
      const error = errorOf(() => readBack("Up", ["Up", action]));
      expect(error).toMatchObject({ code: "BAD_ENVIRONMENT" });
      expect(error.message).toContain(`mine: actions has ${JSON.stringify(action)}`);
    },
  );

  it("are found by exact spelling before another case", () => {
    const find = actionLookup(["GO", "go", "Stay"]);
    expect(["GO", "go", " go ", "Go", "STAY", "no"].map(find)).toEqual([0, 1, 1, -1, 2, -1]);
  });
});
