// Requests to the server behind the page: JSON, with the token that its address brought.

const TOKEN = new URLSearchParams(location.search).get("token") ?? "";

async function call(name, body) {
  let response;
  try {
    response = await fetch(`${API}/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Seqae-Token": TOKEN },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The server does not answer. Start it again, and open the address that it prints.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered with status ${response.status}.`);
  return answer;
}

// Of many calls only the newest waits; `shown` gets the answers, in order.
function newestOnly(name, shown, failed) {
  let waiting = null;
  let isBusy = false;
  return async function send(body) {
    waiting = body;
    if (isBusy) return;
    isBusy = true;
    while (waiting) {
      const next = waiting;
      waiting = null;
      try { shown(await call(name, next), next); } catch (error) { failed(error); }
    }
    isBusy = false;
  };
}

// A form whose answer is shown under it; errors stand where they happen.
function asking(name, controls, read, show, button = "Write") {
  const answer = element("div", { "aria-live": "polite" });
  const problem = element("p", { class: "problem", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    answer.classList.add("busy");
    try { answer.replaceChildren(...show(await call(name, read()))); } catch (error) { problem.textContent = error.message; }
    answer.classList.remove("busy");
  };
  return element("form", { onsubmit: submit },
    element("div", { class: "row" }, ...controls, element("button", { class: "primary", type: "submit" }, button)), problem, answer);
}
