// What is being done, in large letters, and what else it might be.

import { $, dot, element, percent } from "./dom.js";

const HELD = "another is likelier by now; it takes over when it has led for a second";

let told = "";

export function showCaption(result) {
  const caption = result?.caption ?? null;
  const key = caption ? JSON.stringify([caption, result.colours]) : "";
  if (key === told) return;
  told = key;
  if (!caption) {
    $("caption").replaceChildren(element("span", { className: "none" }, "No action now"));
    $("alternatives").replaceChildren();
    return;
  }
  const dots = caption.track_ids.filter((id) => id in result.colours).map((id) => dot(result.colours[id]));
  const held = caption.alternatives.length > 0 && caption.alternatives[0][1] > caption.score; // the next one waits
  const sure = percent(caption.score) + (held ? " held" : "");
  $("caption").replaceChildren(...dots, caption.text, element("small", { title: held ? HELD : "" }, sure));
  const others = caption.alternatives.slice(0, 4).map(([text, score]) => element("li", {}, text, element("b", {}, percent(score))));
  $("alternatives").replaceChildren(...others);
}
