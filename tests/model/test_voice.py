"""One reply by rule: a model's refusals and people's ordinary words, insults, ends, languages."""

import pytest

from lib.model.voice import is_cut_off, is_foreign, is_hostile, is_refusal, is_unreadable

REFUSALS = """As an AI language model, I can't have opinions.
I'm sorry, but I can't help with that.
I cannot assist with that
I’m just an AI
I can't help with that request.
I'm sorry, but I cannot fulfill this request.
Sorry, I can't do that.
As a language model, I don't follow sports.
I apologize, but I'm not able to generate content of this kind.
I am unable to comply with this request.
I'm not comfortable writing a reply to this tweet.
I won't be able to help with this one.
Unfortunately, I can't create that type of content.
I must decline to respond to this.
This goes against my guidelines.
I'd rather not engage with this topic. As a chatbot I stay neutral.
I'm an AI assistant made by Alibaba Cloud.
I'm Qwen, created by Alibaba Cloud.
I don't have personal opinions, but this is interesting.
I'm afraid I can't help you with this.
I can’t discuss that topic.
I'm unable to provide a response to that.
Sorry, but that's not something I can help with.
I can't write a reply to this.
I can't continue this conversation.
I'm sorry, I can't respond to that tweet.
I can't engage with hateful content.
I do not feel comfortable responding to this.
Ѕorry, but І can't help with that.
I can not generate an inappropriate reply.
It would be inappropriate for me to respond to this tweet.
I'm sorry, but I am not able to answer this.
My apologies, I cannot reply to political tweets.
It's not appropriate for me to comment on this.
Let's talk about something else instead. I can't assist here.
I was not designed to answer this question.
I'm programmed to be helpful and harmless, so I'll pass on this one.
Sorry, I am not able to write about this.
I'd prefer not to comment on this topic.
I'm not in a position to reply to this.
It's best that I don't weigh in here.
I CAN'T HELP WITH THAT
I can't help w1th that"""
ORDINARY = """I can't believe it
AI is taking over
I'm sorry for your loss
so sorry, but wow
I can't help it
I'm sorry but this is wrong
I can't help but laugh at this
sorry but I can't stand this guy
I won't write off this team yet
As an assistant coach I agree
I'm sorry but you can't be serious
I cannot respond to everyone
I can't create an account on your site
Sorry, I can't do mornings
I can't comment on politics but this is funny
I can't continue watching this
I refuse to discuss pineapple on pizza
As a model railway fan I love this
can't help you with your ego
it's not something I can do at home sadly
an AI wrote this tweet
I'm sorry for what happened to you
I would rather not go out tonight
He was not able to help his brother"""


@pytest.mark.parametrize("text", REFUSALS.splitlines())
def test_refusals_are_recognised_in_whatever_words(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", ORDINARY.splitlines())
def test_ordinary_replies_are_no_refusals(text):
    assert not is_refusal(text)


@pytest.mark.parametrize(
    ("text", "hostile"),
    [
        ("you are such an idiot", True),
        ("Shut up already", True),
        ("уou are an 1diot", True),
        ("people like you deserve to rot, go to hell", True),
        ("kill yourself", True),
        ("that bridge is stupid expensive", False),
        ("this kills me every time", False),
        ("he shut the door up there", False),
        ("the fool on the hill, great song", False),
    ],
)
def test_insults_are_recognised_and_strong_words_about_things_are_not(text, hostile):
    assert is_hostile(text) is hostile


@pytest.mark.parametrize(
    ("text", "unreadable"),
    [
        ("...", True),
        ("?!", True),
        ("\u200b\u2060", True),
        ("\x00\x01", True),
        ("so \ufffd\ufffd\ufffd true", True),
        ("ok", False),
        ("7", False),
        ("🔥", False),
        ("はい", False),
        ("@ann @ben", True),
        ("https://t.co/abc", True),
        ("#blessed", False),
        ("<|im_start|>assistant", True),
        ("ninechars\ufffd", False),  # a tenth of the characters itself
        ("eightcha\ufffd", True),
    ],
)
def test_a_text_without_letters_digits_or_emoji_cannot_be_read(text, unreadable):
    assert is_unreadable(text) is unreadable


@pytest.mark.parametrize(
    ("text", "tokens", "cut"),
    [
        ("It ends as it should, does it not", 20, False),
        ("It ends as it should, does it not", 120, True),
        ("It ends as it should.", 120, False),
        ("It closes in March because the", 20, True),
        ("I like the bridge, the harbour and,", 20, True),
        ("What is it for", 20, False),
        ("It ends as it should, does it not", 119, False),
    ],
)
def test_a_reply_is_cut_off_at_the_limit_of_tokens_or_in_mid_sentence(text, tokens, cut):
    assert is_cut_off(text, tokens, 120) is cut


@pytest.mark.parametrize(
    ("text", "found", "language", "foreign"),
    [
        ("Muy bien dicho amigo mío", ("es", 0.9999), "en", True),
        ("Muy bien", ("es", 0.9999), "en", False),
        ("Well said my old friend", ("en", 0.9999), "en", False),
        ("Page ninety and no murderer", ("da", 0.8), "en", False),
        ("я тоже так думаю", ("", 0.0), "en", True),
        ("so true", ("so", 0.9999), "en", False),
        ("🔥🔥", ("", 0.0), "en", False),
        ("そうですねはい", ("ja", 0.9999), "ja", False),
        ("abcяюэ", ("", 0.0), "en", False),  # half of it is Latin
        ("abяюэж", ("", 0.0), "en", True),
        ("Muy bien dicho amigo", ("es", 0.99), "en", True),
        ("Muy bien dicho amigo", ("es", 0.9899), "en", False),
    ],
)
def test_another_language_is_one_that_is_sure_or_another_script(text, found, language, foreign):
    assert is_foreign(text, found, language) is foreign
