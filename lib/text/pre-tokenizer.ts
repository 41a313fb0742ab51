// How a tokenizer.json cuts text before merging, in steps that @huggingface/tokenizers follows exactly.

/** GPT-2's pattern, with which a ByteLevel step cuts text unless `use_regex` is false. */
const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** ASCII's marks that Unicode calls symbols count as punctuation, too. */
const punctuation = "[\\p{P}$+<=>^`|~]+";

type Step = Record<string, unknown>;

/**
 * The same pre-tokenizer with every pattern in a Split step. The library translates those patterns from Rust's regular
 * expressions; what it cuts with patterns of its own (ByteLevel, Digits, Punctuation) follows JavaScript, where `\s` and
 * `\d` are other characters, and what it does not know it passes over.
 *
 * @param refuse throws; called with what a step is that cannot be followed.
 */
export function exactPreTokenizer(step: unknown, refuse: (what: string) => never): Step {
  if (typeof step !== "object" || step === null) return refuse("no pre-tokenizer");
  const { type, ...settings } = step as Step;
  switch (type) {
    case "Sequence": {
      const steps = Array.isArray(settings.pretokenizers) ? settings.pretokenizers : [];
      return sequence(steps.map((part) => exactPreTokenizer(part, refuse)));
    }
    case "ByteLevel": {
      if (settings.add_prefix_space === true)
        return refuse("a ByteLevel pre-tokenizer with add_prefix_space");
      const bytes = { ...settings, type, use_regex: false };
      return settings.use_regex === false ? bytes : sequence([isolated(gpt2Pattern), bytes]);
    }
    case "Digits":
      return isolated(settings.individual_digits === true ? "\\p{N}" : "\\p{N}+");
    case "Punctuation":
      if (settings.behavior === "Contiguous") return isolated(punctuation);
      return refuse(`a Punctuation pre-tokenizer with behavior ${JSON.stringify(settings.behavior)}`);
    case "Split": {
      const inverted = settings.invert === true;
      if (settings.behavior === (inverted ? "Removed" : "Isolated")) return step as Step;
      const what = `a Split pre-tokenizer with behavior ${JSON.stringify(settings.behavior)}`;
      return refuse(inverted ? `${what} and invert` : what);
    }
    default:
      return refuse(`a pre-tokenizer of type ${JSON.stringify(type)}`);
  }
}

function sequence(pretokenizers: Step[]): Step {
  return { type: "Sequence", pretokenizers };
}

function isolated(pattern: string): Step {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}
