import { expect, test } from "vitest";
import { heldStarts, noteHeldStarts, writtenStates } from "../../lib/stages/held-states.ts";
import { watchingProgress } from "./tiny-run.ts";

const levels = ["P_\n_G", "_P\n_G", "P__\n___\n__G", "_P\n_G"].map((grid) => ({ grid }));

test("levels that begin in a state, with coordinates or without, each counted", () => {
  expect(heldStarts([], levels)).toBe(0);
  expect(heldStarts(["P_\nG_", "P_"], levels)).toBe(0);
  expect(heldStarts(["_P\n_G", " _P\n_G\nPlayer (P) at (0,1).\n"], levels)).toBe(2);
  expect(heldStarts(["P__\n___\n__G\nPlayer (P) at (0,0).", "P_\n_G"], levels)).toBe(2);
});

test("the user is told of them, with their count", () => {
  const notes: string[] = [];
  const progress = { ...watchingProgress(() => {}), note: (text: string) => notes.push(text) };
  const test = levels.map((level, seed) => ({ ...level, seed, distance: null }));
  const context = { progress, split: { test, tuning: [], held: new Set<string>() } };
  noteHeldStarts(context, "spa/self-play", ["P_\nG_"]);
  noteHeldStarts(context, "spa/self-play", ["_P\n_G"]);
  expect(notes).toEqual([
    expect.stringMatching(/^warning: 2 of 4 test levels begin in states that occur in spa\/self-play's/),
  ]);
});

test("the states of replies", () => {
  const reply =
    "<think><observation>P_\n_G</observation>I go.<prediction>_P\n_G</prediction></think><answer>Right</answer>";
  const states = [...writtenStates([reply, "<answer>Up</answer>"])];
  expect(states).toEqual(["P_\n_G", "_P\n_G"]);
  expect(heldStarts(states, levels)).toBe(3);
});
