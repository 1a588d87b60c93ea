"""The signs of replies that teach nothing: what they find, and what they leave alone."""

import pytest

from lib.data.heuristics import KEY_OF, SENTENCES, bot_like_authors, signs


def reasons(text):
    return [reason for reason, _ in signs(text)]


@pytest.mark.parametrize(
    "text",
    [
        "@ann Huge GIVEAWAY on my page, three winners every day",
        "@ann Enter to win a new phone, only until Sunday",
        "@ann get 30% off all candles until Friday evening",
        "@ann I write about this every week, link in bio",
        "@ann follow me for more tips like this one",
        "@ann follow back please, I follow everybody who does",
        "@ann Retweet if you agree that soup is a drink",
        "@ann like &amp; retweet to spread the word everyone",
        "@ann $SOUP is going to the moon, do not miss it 🚀",
        "@ann HODL and never sell, we are all going to be rich",
        "@ann check out my new podcast about soup and bread",
    ],
)
def test_promotion_is_found(text):
    assert reasons(text) == ["promotion"]


@pytest.mark.parametrize(
    "text",
    [
        "@ann so true, this is exactly right 😂😂😂😂😂😂😂",
        "@ann This!!! Absolutely perfect, I love it so much",
        "@ann lol same, I feel this so much, well said",
        "@ann RIP, he was such a good man",
        "@ann Our thoughts and prayers are with the family",
        "@ann thank you for fixing this so quickly",
        "@ann I’m so sorry for your loss, stay strong",
        "@ann hope you're safe, all the best from Oslo",
        "@ann glad to hear that you are ok, all of you",
        "@ann what terrible news to wake up to this morning",
        "@ann love this dog 😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍",
    ],
)
def test_filler_is_found(text):
    assert reasons(text) == ["filler"]


@pytest.mark.parametrize(
    "text",
    [
        "@shop where is my order? It was due on Monday",
        "@shop my account was locked this morning, please help",
        "@shop how do I cancel this, the button does nothing",
        "@ann May we use your photo on our evening show, with credit?",
        "@ann pls tell us how the dog is doing today?",
        "@ann could you DM me about the video you shot",
        "@shop the app is down again for everybody here",
    ],
)
def test_requests_to_the_author_are_found(text):
    assert reasons(text) == ["support_question"]


@pytest.mark.parametrize(
    "text",
    [
        "@ann you're such an idiot, the lid was on the pot",
        "@ann why tell everybody about the lid, you absolute morons",
        "@ann they should just shoot them all and be done with it",
        "@ann hope he rots in that kitchen for the rest of his life",
        "@ann these subhumans stole the lid from my pot",
        "@ann typical libtard, always on about soup and bread",
        "@ann shut the hell up about the soup, nobody asked you",
    ],
)
def test_attacks_are_found(text):
    assert reasons(text) == ["attack"]


@pytest.mark.parametrize(
    "text",
    [
        "@ann the man on the left in this photo is my uncle",
        "@ann Beautiful shot, the light on the pot is perfect in it",
        "@ann I read the article and it says nothing about soup",
        "@ann you should have had bread as an option too",
    ],
)
def test_a_reply_about_what_the_model_does_not_see_is_found(text):
    assert reasons(text) == ["unseen"]


@pytest.mark.parametrize("text", [".@ann the lid is still missing from the pot", '".@ann the lid is missing'])
def test_a_broadcast_is_found(text):
    assert reasons(text) == ["broadcast"]


@pytest.mark.parametrize(
    "text",
    [
        "@ann I follow my sister's recipe and it never works",
        "@ann the moon was bright enough to read by last night",
        "@ann he gave away the ending in the first minute",
        "@ann nothing is free, least of all the second helping",
        "@ann I know what I'm doing here, and it is not cooking",
        "@ann There's no money in it for them, that is all",
        "@ann my grandfather prayed for rain and got my uncle",
        "@ann how do you know that it's soup and not stew?",
        "@ann the order of the courses is what I mind",
        "@ann ...and then the lid @bob bought fell off too",
        "@ann it's sad when the soup is better than the company",
        "@ann check out my timeline, I wrote about the lid all week",
        "@ann I said you were right, you looked stupid to nobody",
        "@ann the police kill them and then ask for their names",
        "@ann he never deserved any of that, and it was all over a lid",
        "@ann we had custard and mustard, and the bastard sword of soups",
        "@ann that is only one part of the picture, the pot is the other",
        "@ann so sad that the pot is gone, it made the best soup in the street and everybody knew it",
        "@ann the shoes were a dead giveaway, nobody cooks in those",
        "@ann a chance to win the league and he puts the keeper up front",
        "@ann I subscribe to the theory that soup is a drink",
        "@ann finished the book today and cried into the soup",
        "@ann it's like if you gave a dog the keys and then blamed the dog",
        "@ann please share the recipe, my sister asks every week",
        "@ann my podcast about soup has one listener and it is my mother",
        "@ann nobody there would follow me, so I went back for the lid",
        "@ann could you airdrop me the recipe when we meet",
        "@ann they use code to count lids and still lose one a week",
        "@ann please tell me this is a joke about soup",
        "@ann when my flight was late I wrote a novel about soup, guess who read it?",
        "@ann please fix this country, starting with the soup",
        "@ann I worked in customer service for ten years and saw worse",
        "@ann what's the price of freedom if not one lid?",
        "@ann can someone help me understand why the lid is gone",
        "@ann please don't call me before the soup is done",
        "@ann just shoot them an email, they answer in a day",
        "@ann there was a cockroach in my soup and we named him",
        "@ann skim the scum off the broth before it boils",
        "@ann shut up, this is the best soup I have ever seen",
        "@ann just hang them all on the line and wait for the sun",
        "@ann how do we get people to read the recipe before they cook",
    ],
)
def test_ordinary_replies_have_no_sign(text):
    assert reasons(text) == []


def test_every_sign_has_a_key_of_the_config_and_a_sentence():
    assert set(KEY_OF) == set(SENTENCES)


def test_an_author_who_repeats_a_few_words_of_many_replies_is_no_bot():
    story = "the soup was cold but we had bread and a long talk about boats in winter"
    varied = [("Ann", f"{story[k : k + 20]} the {k}th time today") for k in range(0, 60, 10)]
    assert bot_like_authors(varied) == set()
    alike = [("@Bob", f"Thanks number {k}, please see our page about winter boats") for k in range(5)]
    assert bot_like_authors([*varied, *alike]) == {"bob"}
    assert bot_like_authors(alike[:4]) == set()
    own = [
        ("Bob", f"{word} {word}x {word}y {word}z") for word in ("one", "two", "three", "four", "five", "six")
    ]
    assert bot_like_authors([*alike, *own[:5]]) == {"bob"}  # half of what he wrote
    assert bot_like_authors([*alike, *own]) == set()
