// The box where one types what to look for, and what the node says of each text.

import { $, dot, element, percent } from "./dom.js";

export class Queries {
  constructor(link) {
    this.link = link;
    this.asked = 0;
    this.told = "";
    this.waiting = new Map();
    $("ask").onsubmit = (event) => {
      event.preventDefault();
      const text = $("query").value.trim();
      if (text) this.send({ add: [text] }, `Looking for “${text}”`);
    };
  }

  enable(possible) {
    for (const part of $("ask").elements) part.disabled = !possible;
    if (!possible) this.say("These weights answer no questions", false);
  }

  send(change, done) {
    this.waiting.set(++this.asked, done);
    this.link.say({ t: "ask", ask: this.asked, ...change });
    this.say("…", true);
  }

  reply(reply) {
    const done = this.waiting.get(reply.ask) ?? "";
    this.waiting.delete(reply.ask);
    this.say(reply.ok ? done : reply.error, reply.ok);
    if (reply.ok && done) $("query").value = "";
  }

  say(text, ok) {
    $("asked").textContent = text;
    $("asked").dataset.ok = ok ? "yes" : "no";
    clearTimeout(this.timer);
    if (ok && text) this.timer = setTimeout(() => this.say("", true), 5000); // the list of answers tells the rest
  }

  update(result) {
    const answers = result ? result.queries : [];
    const key = JSON.stringify([answers.map((a) => [a.text, a.present, percent(a.score), a.track_ids])]);
    if (key === this.told) return;
    this.told = key;
    $("answers").replaceChildren(...answers.map((a) => this.row(a, result.colours)));
  }

  row(answer, colours) {
    const remove = element("button", { type: "button", title: `No longer look for ${answer.text}` }, "×");
    remove.setAttribute("aria-label", remove.title);
    remove.onclick = () => this.send({ remove: [answer.text] }, "");
    const dots = answer.track_ids.filter((id) => id in colours).slice(0, 4).map((id) => dot(colours[id]));
    return element(
      "li", { data: { present: answer.present ? "yes" : "no", text: answer.text } },
      element("span", { className: "what", title: answer.text }, answer.text),
      element("span", { className: "dots" }, ...dots),
      element("span", { className: "score" }, answer.present ? percent(answer.score) : "absent"),
      remove,
    );
  }
}
