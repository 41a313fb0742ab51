import type { StateForm } from "./state-text.ts";
import { escapeTags, type TurnFormat } from "./tags.ts";

/** `nano`: a few words around the state, for the embedded model. `full`: instructions that an instruct LLM can follow. */
type PromptStyle = "nano" | "full";

/** What holds for every turn of a run. */
export interface PromptSettings {
  style: PromptStyle;
  format: TurnFormat;
  /** How the agent is to write states in the world-model format; the state shown in the prompt is the caller's choice. */
  replyState: StateForm;
  /** At most so many actions are executed in a turn. */
  maxActions: number;
  /** What stands between actions, without spaces. */
  separator: string;
  /** Most tokens of a reply, for the length hint. */
  maxNewTokens: number;
}

/** The task, from the environment. */
interface TaskText {
  instructions: string;
  /** Listed in the prompt if the instructions do not name them all. */
  actions: readonly string[];
}

/** What changes from turn to turn. */
interface TurnPrompt {
  /** From 1 on. */
  turn: number;
  /** The state as the agent is to see it: `render("grid")` or `render("structured")`. Tags in it are escaped, as in replies. */
  state: string;
  /** Actions that the trajectory may still take; null without a limit. */
  actionsLeft: number | null;
}

/**
 * The messages before the first turn. Also those of every turn if each turn has a prompt of its own (context `turn`).
 *
 * @returns the system message (null if the style has none) and the user message.
 */
export function renderFirstPrompt(
  settings: PromptSettings,
  task: TaskText,
  turn: TurnPrompt,
): { system: string | null; user: string } {
  if (settings.style === "nano") {
    return { system: null, user: nanoPrompt(settings, turn) };
  }
  const unnamed = task.actions.some((action) => !task.instructions.includes(action));
  const actions = unnamed ? `\nActions: ${task.actions.join(", ")}.\n` : "";
  return {
    system:
      "You are an agent that works on a task in turns. In each turn you see the current state, think about it, and " +
      "decide what to do next.",
    user: `${task.instructions}\n${actions}${actionLimit(settings)}\n\n${fullTurn(settings, turn)}`,
  };
}

/** The user message before a later turn: the reward of the turn before, then the new state. */
export function renderNextPrompt(settings: PromptSettings, turn: TurnPrompt & { reward: number }): string {
  if (settings.style === "nano") {
    return nanoPrompt(settings, turn);
  }
  return `Reward: ${Number(turn.reward.toFixed(4))}\n\n${fullTurn(settings, turn)}`;
}

/**
 * The nano model sees the mode, the state and, where fewer actions are left than a turn may hold, their number: it
 * decides which of its actions are executed, hence what the next state is.
 */
function nanoPrompt(settings: PromptSettings, { state, actionsLeft }: TurnPrompt): string {
  const mode = settings.format === "plain" ? "Think and act" : "Predict the next state and act";
  const limit = actionsLeft !== null && actionsLeft < settings.maxActions ? `, at most ${actionsLeft}` : "";
  return `${mode}${limit}:\n${escapeTags(state)}`;
}

/**
 * The text of a user message before and after the state in it.
 *
 * @param state as the message was rendered with, without its escapes
 */
export function aroundState(message: string, state: string): [before: string, after: string] {
  const shown = escapeTags(state);
  // Before it stands a heading, which is the first line to end with a colon.
  const begin = message.indexOf(`:\n${shown}`) + 2;
  return [message.slice(0, begin), message.slice(begin + shown.length)];
}

function actionLimit({ maxActions, separator }: PromptSettings): string {
  return maxActions === 1
    ? "Give exactly one action in each turn."
    : `Give up to ${maxActions} actions in each turn, separated by "${separator}". They are carried out in this order.`;
}

function fullTurn(settings: PromptSettings, { turn, state, actionsLeft }: TurnPrompt): string {
  const left = actionsLeft === null ? "" : `Actions left: ${actionsLeft}\n`;
  return `Turn ${turn}\nState:\n${escapeTags(state)}\n${left}${replyForm(settings)}`;
}

const stateForm: Record<StateForm, string> = {
  grid: "the grid, row by row.",
  structured: "the grid, row by row, and under it one line with the coordinates of what matters.",
  coordinates: "one line with the coordinates of what matters.",
};

function replyForm({ format, replyState, maxActions, separator, maxNewTokens }: PromptSettings): string {
  const answer = maxActions === 1 ? "action" : `action ${separator} action ${separator} …`;
  const think =
    format === "plain"
      ? "your reasoning"
      : "<observation>the state now</observation>your reasoning<prediction>the state after your actions</prediction>";
  const states = format === "plain" ? "" : ` Write both states as ${stateForm[replyState]}`;
  return (
    `Reply in exactly this form and write nothing else:\n<think>${think}</think><answer>${answer}</answer>\n` +
    `Use at most ${maxNewTokens} tokens.${states}`
  );
}
