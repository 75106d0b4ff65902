// Questions to the local server, and answers with their arrays.

/** Ask, again a little later where the server is busy; an Error with its one line where it refuses. */
export async function ask(name, question, signal = null) {
  const response = await fetch(`/api/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
    signal,
  });
  if (response.status === 503 && response.headers.has("Retry-After")) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After"))));
    signal?.throwIfAborted();
    return ask(name, question, signal);
  }
  if (!response.ok) {
    const refusal = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
    throw new Error(refusal.error);
  }
  return unpack(await response.arrayBuffer());
}

/** A JSON header and float32 arrays behind it; an array becomes {shape, data}. */
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return JSON.parse(header, (key, value) => {
    if (!value || typeof value !== "object" || !("shape" in value && "offset" in value)) return value;
    const size = value.shape.reduce((a, b) => a * b, 1);
    return { shape: value.shape, data: new Float32Array(buffer, 4 + length + 4 * value.offset, size) };
  });
}

/** A channel on which the latest question wins: one under way, one waiting, all others superseded.
 *
 * Pictures that are under way are shown, while a hand still moves; other answers are given up, which ends their work.
 */
export function channel(name, show) {
  let busy = false;
  let given = null;
  let waiting = null;
  const idle = [];
  async function next() {
    if (busy || waiting === null) return;
    busy = true;
    const question = waiting;
    waiting = null;
    given = new AbortController();
    const begun = performance.now();
    try {
      const answer = await ask(name, question, given.signal);
      if (waiting === null || name === "landscape") show(answer, question, performance.now() - begun);
      complain("");
    } catch (error) {
      if (error.name !== "AbortError") complain(error.message);
    }
    busy = false;
    if (waiting === null) idle.splice(0).forEach((resolve) => resolve());
    else next();
  }
  return (question) => {
    waiting = question;
    if (busy && name !== "landscape") given.abort();
    next();
    return new Promise((resolve) => idle.push(resolve));
  };
}

/** One line above everything; none if empty. */
export function complain(line) {
  const message = document.getElementById("message");
  message.textContent = line;
  message.hidden = !line;
}
