// Questions to the local server, and answers with their arrays.

/** Ask once; an Error with the server's one line where it refuses. */
export async function ask(name, question) {
  const response = await fetch(`/api/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  });
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

/** A channel on which the latest question wins: one under way, one waiting, all others superseded. */
export function channel(name, show) {
  let busy = false;
  let waiting = null;
  const idle = [];
  async function next() {
    if (busy || waiting === null) return;
    busy = true;
    const question = waiting;
    waiting = null;
    const begun = performance.now();
    try {
      const answer = await ask(name, question);
      if (waiting === null || name === "landscape") show(answer, question, performance.now() - begun);
      complain("");
    } catch (error) {
      complain(error.message);
    }
    busy = false;
    if (waiting === null) idle.splice(0).forEach((resolve) => resolve());
    else next();
  }
  return (question) => {
    waiting = question;
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
