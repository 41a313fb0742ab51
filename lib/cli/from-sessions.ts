import { Agent } from "../agent/agent.ts";
import { trainOnSessions } from "../agent/train-on-sessions.ts";
import { SpaError } from "../errors.ts";
import { saveModelFolder } from "../stages/export.ts";
import { untilInterrupted } from "./interrupt.ts";
import { print, printError } from "./print.ts";
import { type RunOptionValues, readRequest, showPath } from "./run-options.ts";

/** Options of `spa ppo` for sessions. */
interface FromSessionsOptions extends RunOptionValues {
  fromSessions: string;
  to?: string;
}

/**
 * `spa ppo --from-sessions`: trains a policy on what was sampled of it while it was served, and writes what it has become as a
 * model's folder.
 */
export async function ppoFromSessions(
  source: string,
  args: readonly string[],
  { fromSessions, to, trust = false }: FromSessionsOptions,
): Promise<void> {
  if (to === undefined) {
    throw new SpaError("BAD_ARGUMENT", "--from-sessions needs a folder to write the model into", {
      hint: "add --to <folder>; the run folder stays as it is",
    });
  }
  const { source: preset, settings } = readRequest(args);
  if (preset !== undefined) {
    throw new SpaError("BAD_CONFIG", `${preset} cannot be given beside --from-sessions`, {
      hint: "name the policy by --run; settings are written key=value",
    });
  }
  const notices = { first: () => printError("stopping before the next update"), second: () => {} };
  await untilInterrupted(notices, async (signal) => {
    await using agent = await Agent.load(source, { trust, signal });
    const outcome = await trainOnSessions(agent, fromSessions, { settings, signal });
    const folder = await saveModelFolder(agent.model, agent.tokenizer, to);
    const { sessions, trained, tokens, rewardMean, figures } = outcome;
    print(`${sessions} sessions, mean reward ${rewardMean.toFixed(3)}`);
    print(`trained on ${trained} of them: ${tokens} sampled tokens, ${figures.updates ?? 0} updates`);
    print(
      `log-probs of serving and training differ by ${(figures.logprob_difference_mean ?? 0).toExponential(1)} on average`,
    );
    print(`model: ${showPath(folder)}`);
  });
}
