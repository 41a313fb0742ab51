// A policy that is served, an agent elsewhere that uses it, and training on exactly what was sampled for that agent.
//
//   node serve.mjs runs/first [rounds]
//
// The agent is a program of its own in any language: here a few lines with `fetch`. It names its session with each call, and
// gives the session a reward when it knows how it went.
import { Policies, PolicyServer, SessionRecorder, trainOnSessions } from "spa-ai";

const [source, rounds = "3"] = process.argv.slice(2);
const policies = await Policies.open(source);
const sessions = new SessionRecorder();
const server = await PolicyServer.start({ models: policies.models, port: 0, sessions });

const post = async (path, body) => {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${server.url}/v1/${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error((await response.json()).error.message);
  return await response.json();
};

/** The agent's task: a reply that names an action to the right. */
async function episode(id) {
  const messages = [{ role: "user", content: "Think and act:\nP__\n___\n__G" }];
  const { choices } = await post("chat/completions", { messages, max_tokens: 60, session_id: id });
  const reward = choices[0].message.content.includes("Right") ? 1 : 0;
  await post("rewards", { session_id: id, reward, group_id: "to the right" });
}

for (let round = 1; round <= Number(rounds); round++) {
  await Promise.all(Array.from({ length: 32 }, (_, index) => episode(`round ${round}, ${index}`)));
  // Nobody is answered while the weights change; requests that come meanwhile wait.
  const outcome = await policies.models[0].sampler.between(() =>
    trainOnSessions(policies.policy, sessions.take(), { settings: ["ppo.advantage.estimator=grpo"] }),
  );
  console.log(`round ${round}: reward ${outcome.rewardMean.toFixed(3)}, ${outcome.tokens} tokens trained on`);
}

await server.close();
await policies[Symbol.asyncDispose]();
