// Reporting and waiting: `check` prints one JSON line for each fact, `until` waits for a condition.
import readline from "node:readline";

const counts = { ok: 0, fail: 0 };

/** Writes one JSON line to standard output. */
export function emit(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

/** Runs `fn` and reports `{"ok": name}` or `{"fail": name, "detail": …}`. Gives what `fn` gave, or undefined. */
export async function check(name, fn) {
  try {
    const value = await fn();
    counts.ok += 1;
    emit({ ok: name });
    return value;
  } catch (error) {
    counts.fail += 1;
    emit({ fail: name, detail: describe(error) });
    return undefined;
  }
}

/** Like `check`, for a step that everything after it needs: a failure ends the run. */
export async function need(name, fn) {
  let held = false;
  const value = await check(name, async () => {
    const got = await fn();
    held = true;
    return got;
  });
  if (!held) finish();
  return value;
}

/** Prints the totals and ends the process: 0 when every check held, else 1. */
export function finish() {
  emit({ done: counts });
  process.exit(counts.fail === 0 && counts.ok > 0 ? 0 : 1);
}

/** Throws unless `condition` holds. */
export function assert(condition, detail) {
  if (!condition) throw new Error(detail);
}

/** Throws unless both values have the same JSON form. */
export function same(got, want, what) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: got ${g}, want ${w}`);
}

/** Awaits `promise` and throws unless it is refused with this HTTP status and Matrix error code (or one of these). */
export async function refused(promise, status, errcode) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    assert([status].flat().includes(error.httpStatus), `refusal: got ${describe(error)}, want ${status}`);
    assert([errcode].flat().includes(error.errcode), `refusal: got ${describe(error)}, want ${errcode}`);
    return error;
  }
  throw new Error(`wanted ${status} ${errcode}, was accepted: ${JSON.stringify(value)?.slice(0, 300)}`);
}

/** Prints the checkpoint and waits for a line on standard input, which says that the server is back. */
export async function checkpoint(name) {
  emit({ checkpoint: name });
  const lines = readline.createInterface({ input: process.stdin });
  await new Promise((resolve, reject) => {
    lines.once("line", resolve);
    lines.once("close", () => reject(new Error("standard input closed at the checkpoint")));
  }).finally(() => lines.close());
}

function describe(error) {
  if (error instanceof Error) {
    const status = error.httpStatus ? ` [${error.httpStatus} ${error.errcode ?? ""}]` : "";
    return `${error.message}${status}`.slice(0, 1000);
  }
  return String(error).slice(0, 1000);
}
