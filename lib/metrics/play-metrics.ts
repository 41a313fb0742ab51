import type { Metric } from "./metric.ts";

/** Of a set of episodes. */
export const playMetrics: readonly Metric[] = [
  {
    name: "reward_mean",
    meaning:
      "mean over episodes of the sum of their turns' rewards, format penalties included, before `ppo.rewards` scales or normalises",
    healthy: "rises; on FrozenLake it is the success rate less penalties",
    charts: {
      ppo: {
        chart: "reward",
        title: "Reward",
        about: "Mean total reward of the episodes collected in a step, format penalties included.",
      },
    },
  },
  {
    name: "reward_std",
    meaning: "standard deviation of the same over episodes",
    healthy: "above 0; at 0 all episodes end alike and nothing can be learnt",
  },
  {
    name: "success_rate",
    meaning: "share of episodes that solved their level",
    healthy: "rises; training levels are played at `ppo.temperature`",
    charts: {
      ppo: {
        chart: "success",
        title: "Success while training",
        about:
          "Share of the collected episodes that solved their level; training levels, sampling at temperature.",
        share: true,
      },
    },
  },
  {
    name: "turns_mean",
    meaning: "turns in an episode",
    healthy: "falls as the agent gets to the point; stuck at `protocol.maxTurns`: it dawdles",
  },
  {
    name: "response_length",
    meaning: "sampled tokens in a turn",
    healthy: "steady; creeping up to `protocol.maxNewTokens` means replies are cut off",
    charts: {
      ppo: { chart: "response-length", title: "Response length", about: "Sampled tokens in a turn." },
    },
  },
  {
    name: "format_rate",
    meaning: "share of turns that are well-formed and name a known action",
    healthy: "above 0.95 after `base`; a fall is the first sign of collapse",
    range: { low: 0.95 },
    charts: {
      ppo: {
        chart: "format",
        title: "Valid turns",
        about: "Share of turns whose reply was well-formed and named a known action.",
        share: true,
      },
    },
  },
  {
    name: "cut_rate",
    meaning:
      "share of turns whose reply was cut by `protocol.maxNewTokens` instead of ending with an end token",
    healthy: "near 0; a rise means that the agent repeats itself (PPO warns above 0.25)",
    range: { high: 0.25 },
    charts: {
      ppo: {
        chart: "cut",
        title: "Replies cut off",
        about: "Share of turns that ran to the token limit without an end.",
        share: true,
      },
    },
  },
  {
    name: "observation_accuracy",
    meaning:
      "share of turns whose `<observation>` is the true state before them, letter by letter but for white space at the ends. World-model format only",
    healthy: "near 0 before SFT, above 0.95 after",
    range: { low: 0.95, afterSft: true },
    charts: {
      ppo: {
        chart: "observation",
        title: "Observations right",
        about: "Share of turns that describe the true state before them.",
        share: true,
      },
      supervised: {
        validation: true,
        chart: "observation",
        title: "Observations right",
        about: "In play on tuning levels: share of turns that describe the true state before them.",
        share: true,
      },
    },
  },
  {
    name: "prediction_accuracy",
    meaning: "share of turns whose `<prediction>` is the true state after them; a turn without one is wrong",
    healthy:
      "near 0 before SFT, above 0.5 after; PPO may wear it down (`ppo.loss.supervisedCoefficient` holds it)",
    range: { low: 0.5, afterSft: true },
    charts: {
      ppo: {
        chart: "prediction",
        title: "Predictions right",
        about:
          "Share of turns that foretell the true state after them; dashed: over turns that changed the state.",
        share: true,
      },
      supervised: {
        validation: true,
        chart: "prediction",
        title: "Predictions right",
        about:
          "In play on tuning levels: share of turns that foretell the true state; dashed: where the state changed.",
        share: true,
      },
    },
  },
  {
    name: "prediction_accuracy_changed",
    meaning: "the same over the turns whose state changed",
    healthy: "below the one above: a turn that runs into a wall is easy to foretell",
    charts: {
      ppo: { chart: "prediction", line: "changed turns" },
      supervised: { validation: true, chart: "prediction", line: "changed turns" },
    },
  },
];

/** Of several episodes on each level. */
export const passMetrics: readonly Metric[] = [
  {
    name: "pass_at_1",
    meaning: "mean over levels of $c / n$: $c$ of the $n$ attempts solved the level",
    healthy: "rises. Validation plays tuning levels, evaluation test levels",
    charts: {
      ppo: {
        validation: true,
        chart: "pass-at-1",
        title: "Pass@1 on tuning levels",
        about: "Probability that one attempt at a held-out tuning level succeeds.",
        share: true,
      },
    },
  },
  {
    name: "pass_at_{k}",
    meaning: String.raw`mean over levels of $1 - \binom{n-c}{k} / \binom{n}{k}$ with $k = \min(8, n)$, by which it is named: ${"`pass_at_4`"} with four samples (Chen et al. 2021, equation 1); a validation also has every power of two up to $n$`,
    healthy: "does not fall while Pass@1 rises; if it does, the policy loses its variety",
    charts: {
      ppo: {
        validation: true,
        chart: "pass-at-{k}",
        title: "Pass@{k} on tuning levels",
        about: "Probability that one of {k} attempts succeeds. It falls when a policy loses its variety.",
        share: true,
      },
    },
  },
];

/** Of the groups that a step of PPO compares. */
export const groupMetrics: readonly Metric[] = [
  {
    name: "group_std",
    meaning:
      "standard deviation of the reward that is trained on, before `ppo.rewards` scales or normalises it, within a group (same level), mean over all groups of the step; exactly 0 where rewards are equal, none where groups have one member",
    healthy:
      "above 0.05; near 0 every level is either always solved or never, and there is nothing to tell good from bad",
    range: { low: 0.05 },
    charts: {
      ppo: {
        chart: "group-std",
        title: "Reward deviation within groups",
        about:
          "Standard deviation of reward among episodes of a level, mean over levels. At zero there is nothing to learn.",
      },
    },
  },
  {
    name: "groups_kept",
    meaning: "groups that the filter (`ppo.filter`) leaves to train on",
    healthy: "at the filter's share; fewer where groups without deviation are dropped",
  },
  {
    name: "groups_equal",
    meaning:
      "share of groups whose episodes all earn the same, among groups of more than one member, as for the two below",
    healthy: "below 0.9: such groups teach nothing, and PPO warns above that",
    range: { high: 0.9 },
    charts: {
      ppo: {
        chart: "groups-equal",
        title: "Groups of equal rewards",
        about: "Share of levels whose episodes all earn the same: nothing is learnt from them.",
        share: true,
      },
    },
  },
  {
    name: "repeated_replies",
    meaning: "share of a group's replies that another of the group equals token by token, mean over groups",
    healthy: "rises slowly as play gets better; PPO warns above 0.9, where attempts are copies of each other",
    range: { high: 0.9 },
    charts: {
      ppo: {
        chart: "repetition",
        title: "Repeated replies",
        about: "Share of replies that another episode of the same level gives word by word.",
        share: true,
      },
    },
  },
  {
    name: "first_actions",
    meaning: "number of different actions that a group's episodes begin with, mean over groups",
    healthy: "falls towards the number of good first moves; PPO warns below 1.1, one line of play a level",
    range: { low: 1.1 },
    charts: {
      ppo: {
        chart: "first-actions",
        title: "Distinct first actions",
        about: "Different actions that the episodes of a level begin with, mean over levels.",
      },
    },
  },
  {
    name: "reply_information",
    meaning: String.raw`of a validation, with ${"`ppo.informationLevels`"} = $N$ > 0: $\frac1N \sum_i [\log p(z_i \mid x_i) - \log \frac1N \sum_j p(z_i \mid x_j)]$ over the first prompts $x$ and replies $z$ of $N$ levels, an estimate of their mutual information in nats per reply (RAGEN-2)`,
    healthy:
      "near its bound $\\log N$ where replies name what they see; PPO warns below a tenth of its first value, where they have become a template",
    charts: {
      ppo: {
        chart: "reply-information",
        title: "Information of replies",
        about:
          "What replies say about the prompts that they answer, in nats. A fall to zero is a template that fits any prompt.",
      },
    },
  },
];
