// A server that speaks OpenEnv's protocol, as openenv.core.env_server does: `/schema` and `/metadata` over HTTP, sessions with an
// environment each over WebSockets at `/ws`. It plays FrozenLake.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { FrozenLakeEnvironment } from "../../envs/index.ts";

export interface OpenEnvServer extends AsyncDisposable {
  url: string;
  /** Sessions that are open. */
  sessions: ReadonlySet<WebSocket>;
  /** What the next message is answered with, in place of the right answer. */
  answerWith(text: string): void;
}

const directions = ["Left", "Down", "Right", "Up"];

const schema = {
  action: {
    title: "LakeAction",
    type: "object",
    additionalProperties: false,
    properties: {
      metadata: { type: "object", additionalProperties: true },
      direction: { type: "string", enum: directions },
    },
    required: ["direction"],
  },
  observation: { type: "object" },
  state: { type: "object" },
};

/** A session: its environment, and what it answers to a message. */
function session(): (message: { type: string; data?: Record<string, unknown> }) => object {
  const game = new FrozenLakeEnvironment({ size: 3, slippery: false });
  let steps = 0;
  const observed = (board: string, reward: number | null, done: boolean) => ({
    type: "observation",
    data: { observation: { board, steps, metadata: {} }, reward, done },
  });
  const refused = (code: string, message: string) => ({ type: "error", data: { code, message } });
  return ({ type, data = {} }) => {
    if (type === "state") return { type: "state", data: { episode_id: null, step_count: steps } };
    if (type === "reset") {
      steps = 0;
      return observed(game.reset({ seed: data.seed as number }) as string, null, false);
    }
    if (type !== "step") return refused("UNKNOWN_TYPE", `no message ${type}`);
    const { direction } = data as { direction: string };
    if (!directions.includes(direction)) return refused("VALIDATION_ERROR", `no direction ${direction}`);
    const { observation, reward, terminated, truncated } = game.step(direction) as ReturnType<
      FrozenLakeEnvironment["step"]
    >;
    steps++;
    return observed(observation, reward, terminated || truncated);
  };
}

export async function startOpenEnv({ mostSessions = 64 } = {}): Promise<OpenEnvServer> {
  const http: Server = createServer((request, response) => {
    const answers: Record<string, object> = {
      "/schema": schema,
      "/metadata": { name: "lake", description: "Walk over the ice to the goal." },
    };
    const body = answers[request.url ?? ""];
    response
      .writeHead(body ? 200 : 404, { "content-type": "application/json" })
      .end(JSON.stringify(body ?? {}));
  });
  const sockets = new WebSocketServer({ server: http, path: "/ws" });
  const sessions = new Set<WebSocket>();
  let odd: string | undefined;
  sockets.on("connection", (socket) => {
    if (sessions.size >= mostSessions) {
      socket.send(
        JSON.stringify({ type: "error", data: { code: "CAPACITY_REACHED", message: "no more sessions" } }),
      );
      return socket.close();
    }
    sessions.add(socket);
    socket.on("close", () => sessions.delete(socket));
    const answer = session();
    socket.on("message", (text) => {
      const message = JSON.parse(String(text));
      if (message.type === "close") return socket.close();
      socket.send(odd ?? JSON.stringify(answer(message)));
      odd = undefined;
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    sessions,
    answerWith: (text) => {
      odd = text;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sessions) socket.terminate();
      sockets.close();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
