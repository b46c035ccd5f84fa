"use strict";
// The numbers as a JSON file: browsers show one that lies beside the page instead of saving it.

byId("json").addEventListener("click", (event) => {
  event.preventDefault();
  const script = make("script", { src: "scores.js" });
  script.addEventListener("load", () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(window.ldmsceneScores)], { type: "application/json" }));
    make("a", { href: url, download: "scores.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    script.remove();
  });
  document.head.append(script);
});
