// Two people in headless Chromium, each with the page in browser/: they send and read, and one uploads a picture of which
// both see the thumbnail. See README.md beside the client folders.
//
//   node browser.mjs --url http://127.0.0.1:8008 [--chromium /usr/bin/chromium] [--screenshot FILE.png]
import "./lib/quiet.mjs";
import { createServer } from "node:http";
import { mkdtemp, readFile, rm, copyFile, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { assert, check, finish, need } from "./lib/report.mjs";
import { register, withSession } from "./lib/user.mjs";

const { values: options } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:8008" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    screenshot: { type: "string" },
  },
});
const PATIENCE_MS = Number(process.env.E2E_PATIENCE_MS ?? 30000);
const here = dirname(fileURLToPath(import.meta.url));
const tag = Date.now().toString(36);

/** The page, bundled into a folder of its own. */
async function bundle(folder) {
  await build({
    entryPoints: [join(here, "browser/page.mjs")],
    outfile: join(folder, "page.js"),
    bundle: true,
    format: "esm",
    platform: "browser",
    define: { global: "globalThis" },
    logLevel: "error",
  });
  await copyFile(join(here, "browser/index.html"), join(folder, "index.html"));
  // The bundle looks for the Rust crypto beside itself.
  const wasm = "pkg/matrix_sdk_crypto_wasm_bg.wasm";
  await mkdir(join(folder, "pkg"));
  await copyFile(join(here, "node_modules/@matrix-org/matrix-sdk-crypto-wasm", wasm), join(folder, wasm));
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** Serves a folder on loopback. */
async function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = request.url.split("?")[0];
    const name = path === "/" ? "index.html" : path.slice(1);
    const type = TYPES[extname(name)];
    try {
      if (!type || name.includes("..")) throw new Error("no such file");
      const bytes = await readFile(join(folder, name));
      response.writeHead(200, { "content-type": type }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** A picture of 320 × 240 pixels with a gradient, as PNG. */
function picture() {
  const [width, height] = [320, 240];
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * (1 + width * 3) + 1 + x * 3;
      rows[at] = (x * 255) / width;
      rows[at + 1] = (y * 255) / height;
      rows[at + 2] = 128;
    }
  }
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

const folder = await mkdtemp(join(tmpdir(), "tessera-page-"));
let browser;
let server;
try {
  await need("the page is bundled", () => bundle(folder));
  server = await serve(folder);
  const people = {};
  await need("two people with a room", async () => {
    for (const name of ["alice", "bob"]) {
      people[name] = await register(options.url, `${name}-page-${tag}`, `${name}'s password`);
    }
    const [alice, bob] = [people.alice, people.bob].map((answer) => withSession(options.url, answer));
    const { room_id: room } = await alice.createRoom({
      name: "Pictures",
      preset: "private_chat",
      invite: [people.bob.user_id],
      initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    await bob.joinRoom(room);
    people.room = room;
  });
  browser = await need("Chromium starts", () =>
    chromium.launch({
      executablePath: options.chromium,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    }),
  );
  const open = async (answer) => {
    const page = await (await browser.newContext({ viewport: { width: 720, height: 640 } })).newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const session = new URLSearchParams({
      url: options.url,
      user: answer.user_id,
      token: answer.access_token,
      device: answer.device_id,
      room: people.room,
    });
    await page.goto(`http://127.0.0.1:${server.address().port}/#${session}`);
    await page.waitForFunction(() => document.querySelector("#state").textContent !== "starting");
    const state = await page.textContent("#state");
    assert(state === "ready", state);
    return page;
  };
  const alice = await need("Alice's page is ready", () => open(people.alice));
  const bob = await need("Bob's page is ready", () => open(people.bob));
  const say = async (page, text) => {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
  };
  const reads = (page, text) => page.waitForSelector(`#timeline li:has-text("${text}")`);

  await check("Bob reads what Alice sends", async () => {
    await say(alice, "hello from a browser");
    await reads(bob, "hello from a browser");
  });
  await check("Alice reads what Bob sends", async () => {
    await say(bob, "hello back");
    await reads(alice, "hello back");
  });
  await check("both see the thumbnail of an uploaded picture", async () => {
    await alice.setInputFiles("#file", { name: "gradient.png", mimeType: "image/png", buffer: picture() });
    for (const page of [alice, bob]) {
      await page.waitForFunction(() => document.querySelector("#timeline img")?.naturalWidth > 0);
      const [width, height] = await page.$eval("#timeline img", (image) => [image.naturalWidth, image.naturalHeight]);
      assert(width <= 320 && height <= 240 && Math.abs(width / height - 4 / 3) < 0.02, `${width} × ${height}`);
    }
  });
  if (options.screenshot) {
    await check("a screenshot is kept", async () => {
      await mkdir(dirname(options.screenshot), { recursive: true });
      await bob.screenshot({ path: options.screenshot });
    });
  }
} finally {
  await browser?.close();
  server?.close();
  await rm(folder, { recursive: true, force: true });
}
finish();
