import { describe, expect, it } from "vitest";
import { chatFormatOf } from "../../lib/text/chat-format.ts";
import { openConversation } from "../../lib/text/conversation.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { parseTurn } from "../../lib/text/parse.ts";
import { type PromptSettings, renderFirstPrompt, renderNextPrompt } from "../../lib/text/prompt.ts";

const settings: PromptSettings = {
  style: "nano",
  format: "world-model",
  replyState: "structured",
  maxActions: 5,
  separator: "||",
  maxNewTokens: 400,
};
const task = { instructions: "Walk to the goal.\nP is you.", actions: ["Left", "Down", "Right", "Up"] };
const state = "__O_\n____\n____\n__GP";

describe("nano prompts", () => {
  it("are the mode and the state", () => {
    const turn = { turn: 1, state, actionsLeft: 10 };
    expect(renderFirstPrompt(settings, task, turn)).toEqual({
      system: null,
      user: `Predict the next state and act:\n${state}`,
    });
    expect(renderFirstPrompt({ ...settings, format: "plain" }, task, turn).user).toBe(
      `Think and act:\n${state}`,
    );
    expect(renderNextPrompt(settings, { ...turn, turn: 2, reward: -0.1 })).toBe(
      `Predict the next state and act:\n${state}`,
    );
  });

  it("tell the actions left where they are fewer than a turn holds", () => {
    expect(renderNextPrompt(settings, { turn: 4, state, actionsLeft: 3, reward: 0 })).toBe(
      `Predict the next state and act, at most 3:\n${state}`,
    );
    expect(renderFirstPrompt(settings, task, { turn: 1, state, actionsLeft: null }).user).not.toContain(
      "at most",
    );
  });

  it("escape tags of the protocol in the state, in every style", () => {
    const turn = { turn: 1, state: "<answer>x</answer>", actionsLeft: 10, reward: 0 };
    const shown = "\n<\\answer>x<\\/answer>";
    for (const style of ["nano", "full"] as const) {
      expect(renderFirstPrompt({ ...settings, style }, task, turn).user).toContain(shown);
      expect(renderNextPrompt({ ...settings, style }, turn)).toContain(shown);
    }
  });

  it("take 27 tokens on FrozenLake 4x4, delimiters included", () => {
    const tokenizer = nanoTokenizer();
    const prompt = renderFirstPrompt(settings, task, { turn: 1, state, actionsLeft: 10 });
    expect(openConversation(tokenizer, chatFormatOf(tokenizer), prompt).tokens).toHaveLength(27);
  });
});

describe("full prompts", () => {
  const full: PromptSettings = { ...settings, style: "full" };
  const first = { turn: 1, state, actionsLeft: 10 };

  it("state the task, the actions, the limits, the state and the form of a reply", () => {
    const { system, user } = renderFirstPrompt(full, task, first);
    expect(system).toMatch(/turns/);
    expect(user).toBe(
      [
        "Walk to the goal.",
        "P is you.",
        "",
        "Actions: Left, Down, Right, Up.",
        'Give up to 5 actions in each turn, separated by "||". They are carried out in this order.',
        "",
        "Turn 1",
        "State:",
        state,
        "Actions left: 10",
        "Reply in exactly this form and write nothing else:",
        "<think><observation>the state now</observation>your reasoning<prediction>the state after your actions</prediction></think><answer>action || action || …</answer>",
        "Use at most 400 tokens. Write both states as the grid, row by row, and under it one line with the coordinates of what matters.",
      ].join("\n"),
    );
  });

  it("do not list actions that the instructions name", () => {
    const instructions = "Walk. An action is one of: Left, Down, Right, Up.";
    const { user } = renderFirstPrompt(full, { ...task, instructions }, first);
    expect(user).toMatch(/^Walk\. An action is one of: Left, Down, Right, Up\.\nGive up to 5 actions/);
  });

  it("begin later turns with the reward", () => {
    const next = renderNextPrompt(full, { turn: 2, state, actionsLeft: 7, reward: 10.899999999999999 });
    expect(next).toMatch(/^Reward: 10\.9\n\nTurn 2\nState:\n__O_\n/);
    expect(next).toContain("Actions left: 7\n");
  });

  it("show a form that is itself well-formed", () => {
    for (const format of ["plain", "world-model"] as const) {
      const { user } = renderFirstPrompt({ ...full, format }, task, first);
      const form = user.split("\n").find((line) => line.startsWith("<think>"))!;
      expect(parseTurn(form, { format, actions: ["action", "…"], maxActions: 5 }).valid).toBe(true);
    }
  });

  it("adapt to single actions, free-form actions, plain format and grid states", () => {
    const { user } = renderFirstPrompt(
      { ...full, format: "plain", maxActions: 1 },
      { instructions: "Fill the grid.", actions: [] },
      { ...first, actionsLeft: null },
    );
    expect(user).toContain("Give exactly one action in each turn.");
    expect(user).toContain("<think>your reasoning</think><answer>action</answer>");
    expect(user).not.toMatch(/Actions:|Actions left|observation|both states/);
    const grid = renderFirstPrompt({ ...full, replyState: "grid" }, task, first).user;
    expect(grid).toMatch(/Write both states as the grid, row by row\.$/);
  });
});
