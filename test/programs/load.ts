// Loads the addon and says which libtorch it found, or why it could not; ../loader.test.ts runs it in other places.

import { addonInfo } from "../../lib/addon/loader.ts";
import { SpaError } from "../../lib/errors.ts";

try {
  const { libtorch, libtorchLocation, addonFile } = addonInfo();
  console.log(JSON.stringify({ libtorch, libtorchLocation, addonFile }));
} catch (error) {
  if (!(error instanceof SpaError)) throw error;
  console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint }));
}
