// Standard output carries one JSON object a line and nothing else, so the SDK's console log goes to standard
// error, and that only with E2E_VERBOSE=1. Import this module before the SDK: its logger keeps the console functions it finds at load.
const loud = console.error.bind(console);
for (const level of ["log", "info", "debug", "trace", "warn", "error"]) {
  console[level] = process.env.E2E_VERBOSE ? loud : () => {};
}
