/**
 * Uses pages as a person does, in Chromium without a window.
 *
 * Reads a job from stdin, `{executable, visits: [{url, width, dark, actions: [...]}]}`, and
 * writes a list of what each visit showed. Actions: `{drop: path}`, `{choose: path}` (in
 * what Tab gets to), `{screenshot: path}`.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

/** What the page shows, read off its text. */
const look = () => ({
  state: document.querySelector("main").dataset.state,
  status: document.getElementById("status").innerText,
  shown: !document.getElementById("result").hidden,
  answer: document.getElementById("answer").innerText,
  names: [...document.querySelectorAll("#top li span")].map((x) => x.innerText),
  percents: [...document.querySelectorAll("#top li data")].map((x) => x.innerText),
  bars: [...document.querySelectorAll("#top li div")].map(
    (x) => parseFloat(getComputedStyle(x, "::before").width) / x.clientWidth),
  photo: document.getElementById("photo").naturalWidth,
  latency: document.getElementById("latency").innerText,
  model: document.getElementById("model").innerText,
  wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
});

/** Drops a file on the page: the events that a mouse with a file causes. */
async function drop(page, path) {
  const type = { png: "image/png", txt: "text/plain" }[path.split(".").pop()] ?? "image/jpeg";
  const data = await page.evaluateHandle(([base64, name, type]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(base64), (x) => x.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
    return transfer;
  }, [readFileSync(path).toString("base64"), basename(path), type]);
  await page.dispatchEvent("#drop", "dragover", { dataTransfer: data });
  await page.dispatchEvent("#drop", "drop", { dataTransfer: data });
}

/** Chooses a file, if the keyboard alone gets to where one does that. */
async function choose(page, path) {
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Tab");
  await page.setInputFiles("input[type=file]:focus", path);
}

async function visit(browser, { url, width = 900, height = 720, dark = false, actions = [] }) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: dark ? "dark" : "light",
  });
  const page = await context.newPage();
  const [requests, problems] = [[], []];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  const settled = async () => {
    await page.waitForSelector("main:is([data-state=ready], [data-state=done], [data-state=error])");
    return page.evaluate(look);
  };
  await page.goto(url);
  const seen = [await settled()];
  for (const action of actions) {
    if (action.screenshot) {
      await page.screenshot({ path: action.screenshot, fullPage: true });
      continue;
    }
    await (action.drop ? drop(page, action.drop) : choose(page, action.choose));
    await page.waitForFunction(
      (name) => document.getElementById("status").textContent.includes(name),
      basename(action.drop ?? action.choose));
    seen.push(await settled());
  }
  await context.close();
  return { seen, requests, problems };
}

const job = JSON.parse(readFileSync(0, "utf-8"));
const browser = await chromium.launch({
  executablePath: job.executable,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-quic",
  ],
});
try {
  const visits = [];
  for (const each of job.visits) visits.push(await visit(browser, each));
  console.log(JSON.stringify(visits));
} finally {
  await browser.close();
}
