// On a narrow page the answer lies below the input: its label is kept at the edge while the answer is out of sight.

import { byId, element, fill } from "./dom.js";
import { percent } from "./words.js";

/** A button at the lower edge; `show` takes a prediction, or null where there is nothing to say. */
export function makeGlance(button, answer) {
  let isKnown = false;
  let isSeen = true;
  const update = () => {
    button.hidden = !isKnown || isSeen;
  };
  new IntersectionObserver(([entry]) => {
    isSeen = entry.isIntersecting;
    update();
  }, { threshold: 0.3 }).observe(answer);
  button.addEventListener("click", () => byId("answer-title").scrollIntoView({ behavior: "smooth" }));
  return {
    show(prediction) {
      isKnown = prediction !== null;
      if (isKnown) fill(button, element("strong", {}, prediction.label), element("span", {}, percent(prediction.probability)), element("span", { "aria-hidden": "true" }, "↓"));
      update();
    },
  };
}
