// Example texts. Those of the first set whose classes are the model's are offered, else general ones.
const REVIEWS = [
  ["A good film", "A wonderful film. The actors are brilliant, and I was sorry when it ended."],
  ["A bad film", "Two hours of nothing. The plot makes no sense and the dialogue is painful."],
  ["Not as bad as it sounds", "I expected a dull film, but it was not bad at all. By the end I was not bored for a minute."],
  ["Good and bad", "The photography is superb and the music is lovely, but the story is thin, and the ending ruins it."],
  ["A long review", [
    "This film took me by surprise.",
    "The first half hour is slow, and the jokes are tired.",
    "Then the story finds its feet, and the two leads carry every scene.",
    "Their father is played with a dignity that I have rarely seen.",
    "The camera stays close, the music holds back, and the silence says more than the words.",
    "Some of the smaller parts are weak, and one twist is easy to foresee.",
    "None of that matters in the last act, which is as moving as anything I saw this year.",
  ].join(" ")],
];
const SETS = [
  [["neg", "pos"], REVIEWS],
  [["negative", "positive"], REVIEWS],
  [["ham", "spam"], [
    ["A message", "Are we still meeting at the station at six? I will bring the tickets."],
    ["An advertisement", "CONGRATULATIONS! You have won a free prize. Call now to claim your reward of 1000 pounds."],
  ]],
];
const GENERAL = [
  ["News", "The government presented its budget on Tuesday. Shares rose while the opposition spoke of empty promises."],
  ["Sport", "The team won the final in extra time after a late goal by its captain."],
  ["A complaint", "My order arrived two weeks late and the box was damaged. Nobody answers my messages."],
  ["Praise", "Quick delivery, friendly staff and a fair price. I will order here again."],
  ["A question", "How do I convert a list of strings into one string with commas between the items?"],
];
const ODD = [
  ["No words", "4711 — 0815 — 2026 !!!"],
  ["Another language", "Der Film hat mir sehr gut gefallen, vor allem die Musik."],
];

/** [title, text] pairs for a model with these classes. */
export function examplesFor(classNames) {
  const known = [...classNames].map((name) => name.toLowerCase()).sort().join("\n");
  const fitting = SETS.find(([names]) => names.join("\n") === known);
  return [...(fitting ? fitting[1] : GENERAL), ...ODD];
}
