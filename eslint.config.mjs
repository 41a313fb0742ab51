// Promises that nobody waits for: the one kind of fault that needs types to be seen, and that biome's rules see in part
// only (they pass a `return` of a promise out of a `using` scope or a `try`). Everything else is biome's.
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(globalIgnores(["dist/", "build*/", "test/fixtures/"]), {
  files: ["**/*.ts", "**/*.mjs"],
  languageOptions: {
    parser: tseslint.parser,
    parserOptions: { project: "tsconfig.lint.json", tsconfigRootDir: import.meta.dirname },
  },
  plugins: { "@typescript-eslint": tseslint.plugin },
  linterOptions: { reportUnusedDisableDirectives: "error" },
  rules: {
    "@typescript-eslint/no-floating-promises": "error",
    "@typescript-eslint/no-misused-promises": "error",
    "@typescript-eslint/return-await": ["error", "error-handling-correctness-only"],
  },
});
